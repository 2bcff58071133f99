//! Circuits in memory, and streams over them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::link::INITIAL_CREDIT_BYTES;
use streams::{
    Accepted, Accepter, Cipher, Circuit, CircuitEvent, CircuitSender, OpenStream, Purpose, Redial,
    RedialError, Stream,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Nothing here takes long; what waits for longer waits for ever.
const SOON: Duration = Duration::from_secs(20);

/// The end that opens streams, and the one that accepts them.
pub(crate) const NEAR: usize = 0;
pub(crate) const FAR: usize = 1;

/// A circuit, seen from outside.
pub(crate) struct Cable {
    lanes: [Mutex<Lane>; 2],
}

/// What one end sends.
struct Lane {
    to: Option<UnboundedSender<CircuitEvent>>,
    /// What is held back, while anything is to be.
    held: Option<Vec<CircuitEvent>>,
    sent_bytes: usize,
    credit: i64,
}

struct Sender {
    cable: Arc<Cable>,
    end: usize,
}

impl Cable {
    pub(crate) fn new() -> (Arc<Self>, Circuit, Circuit) {
        let (to_near, near_events) = unbounded_channel();
        let (to_far, far_events) = unbounded_channel();
        let lane = |to| {
            Mutex::new(Lane {
                to: Some(to),
                held: None,
                sent_bytes: 0,
                credit: i64::from(INITIAL_CREDIT_BYTES),
            })
        };
        let cable = Arc::new(Self {
            lanes: [lane(to_far), lane(to_near)],
        });
        let sender = |end| Sender {
            cable: Arc::clone(&cable),
            end,
        };
        let near = Circuit::new(sender(NEAR), near_events);
        let far = Circuit::new(sender(FAR), far_events);
        (cable, near, far)
    }

    /// Both ends see that it is over.
    pub(crate) fn cut(&self) {
        for end in [NEAR, FAR] {
            self.cut_off(end);
        }
    }

    /// What `end` sends goes nowhere, and the other end sees that nothing comes any more.
    pub(crate) fn cut_off(&self, end: usize) {
        self.lanes[end].lock().to = None;
    }

    /// What `end` sends from now on arrives when it is released.
    pub(crate) fn hold(&self, end: usize) {
        self.lanes[end].lock().held = Some(Vec::new());
    }

    /// How much was held back.
    pub(crate) fn release(&self, end: usize) -> usize {
        let mut lane = self.lanes[end].lock();
        let held = lane.held.take().unwrap();
        let count = held.len();
        for event in held {
            lane.pass(event);
        }
        count
    }

    pub(crate) fn sent_bytes(&self, end: usize) -> usize {
        self.lanes[end].lock().sent_bytes
    }
}

impl Lane {
    fn pass(&mut self, event: CircuitEvent) {
        match (&mut self.held, &self.to) {
            (Some(held), _) => held.push(event),
            (None, Some(to)) => {
                let _gone = to.send(event);
            }
            (None, None) => {}
        }
    }
}

impl CircuitSender for Sender {
    fn send(&self, frame: &[u8]) {
        let mut lane = self.cable.lanes[self.end].lock();
        assert!(lane.credit > 0, "it sends what was not granted");
        lane.credit -= frame.len() as i64;
        lane.sent_bytes += frame.len();
        lane.pass(CircuitEvent::Frame(BytesMut::from(frame)));
    }

    fn grant(&self, bytes: u32) {
        self.cable.lanes[1 - self.end].lock().credit += i64::from(bytes);
        self.cable.lanes[self.end]
            .lock()
            .pass(CircuitEvent::Credit(bytes));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut lane = self.cable.lanes[self.end].lock();
        // What is held back is still on its way.
        if lane.held.is_none() {
            lane.to = None;
        }
    }
}

/// Makes circuits to an accepter.
pub(crate) struct Exchange {
    pub(crate) accepter: Arc<Accepter>,
    /// All that there were.
    cables: Mutex<Vec<Arc<Cable>>>,
    /// Tries that are to fail before one succeeds.
    pub(crate) fails: AtomicUsize,
    /// Done as soon as a resumption was accepted.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

pub(crate) fn connect() -> Purpose {
    Purpose::Connect("host.example:80".parse().unwrap())
}

impl Exchange {
    pub(crate) fn new() -> Arc<Self> {
        Self::to(Accepter::new(Cipher::ChaCha20Poly1305))
    }

    pub(crate) fn to(accepter: Accepter) -> Arc<Self> {
        Arc::new(Self {
            accepter: Arc::new(accepter),
            cables: Mutex::default(),
            fails: AtomicUsize::new(0),
            meanwhile: Mutex::default(),
        })
    }

    /// A stream's two ends, of which the near one looks for circuits `with`, if with anybody.
    pub(crate) fn stream(&self, with: Option<Arc<Self>>) -> (Stream, Stream) {
        let opening = streams::open(connect(), streams::best_cipher());
        let (cable, near, far) = Cable::new();
        self.cables.lock().push(cable);
        let accepted = self.accepter.accept(opening.command(), || far);
        let Accepted::New(accepted, purpose) = accepted else {
            panic!("{accepted:?}")
        };
        assert_eq!(purpose, connect());
        let redial = with.map(|exchange| exchange as Arc<dyn Redial>);
        (opening.over(near, redial), accepted)
    }

    pub(crate) fn last(&self) -> Arc<Cable> {
        Arc::clone(self.cables.lock().last().unwrap())
    }

    /// Circuits that there were.
    pub(crate) fn count(&self) -> usize {
        self.cables.lock().len()
    }

    fn resume(&self, open: &OpenStream) -> Result<Circuit, RedialError> {
        let fails = &self.fails;
        let fail = |left: usize| left.checked_sub(1);
        let failed = fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fail);
        if failed.is_ok() {
            return Err(RedialError::NotNow);
        }
        let (cable, near, far) = Cable::new();
        self.cables.lock().push(cable);
        match self.accepter.accept(open, || far) {
            Accepted::Resumed => {
                if let Some(meanwhile) = self.meanwhile.lock().take() {
                    meanwhile();
                }
                Ok(near)
            }
            Accepted::Unknown => Err(RedialError::Refused),
            other => panic!("{other:?}"),
        }
    }
}

impl Redial for Exchange {
    fn redial(
        &self,
        open: OpenStream,
    ) -> Pin<Box<dyn Future<Output = Result<Circuit, RedialError>> + Send + '_>> {
        Box::pin(async move {
            // It takes a while: readers that were woken by the loss wait again.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.resume(&open)
        })
    }
}

/// Bytes that differ wherever they stand.
pub(crate) fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(SOON, future).await;
    waited.expect("it waits for ever")
}
