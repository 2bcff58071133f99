//! What drives a stream: one task that takes what comes, keeps its times and looks for new circuits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::link::INITIAL_CREDIT_BYTES;
use protocol::stream::{Cipher, End, MAX_FRAME_BYTES, OpenStream, Purpose, WINDOW_BYTES};
use rand::rngs::OsRng;
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::circuit::{Circuit, CircuitEvent, CircuitSender};
use crate::now_ms;
use crate::stream::Stream;

/// What a far end may have under way: the stream's window, and some for what frames have beside data.
const CIRCUIT_CREDIT_BYTES: u32 = WINDOW_BYTES as u32 + WINDOW_BYTES as u32 / 8;
/// Credit is given back in pieces of this, so that it costs few frames.
const CREDIT_PIECE_BYTES: u32 = 128 * 1024;
/// Events taken in one go.
const EVENTS_AT_ONCE: usize = 32;
/// The first wait after a circuit that could not be had, or led nowhere; doubles up to [`REDIAL_MOST`].
const REDIAL_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between tries for a circuit.
const REDIAL_MOST: Duration = Duration::from_secs(5);

/// Makes circuits to where a stream's far end is.
pub trait Redial: Send + Sync + 'static {
    /// Makes a circuit that carries the command to the far end, other nodes being on its way than before if it can
    /// be.
    ///
    /// # Errors
    /// [`RedialError`]: try later, or never.
    fn redial(
        &self,
        open: OpenStream,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Circuit, RedialError>> + Send + '_>>;
}

/// Why there is no circuit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RedialError {
    /// There is none now.
    #[error("no circuit can be had now")]
    NotNow,
    /// The far end will not have it.
    #[error("the far end refuses")]
    Refused,
}

/// A stream and its command, before there is a circuit for it.
#[derive(Debug)]
pub struct Opening {
    state: protocol::stream::Stream,
    command: OpenStream,
}

/// Begins a stream: its command is to be sent with the circuit's first packet, before [`Opening::over`] it is driven.
#[must_use]
pub fn open(purpose: Purpose, cipher: Cipher) -> Opening {
    let (state, command) = protocol::stream::Stream::open(purpose, cipher, now_ms(), &mut OsRng);
    Opening { state, command }
}

impl Opening {
    /// The command that opens the stream at the far end.
    #[must_use]
    pub fn command(&self) -> &OpenStream {
        &self.command
    }

    /// The stream over a circuit that the command goes before. `redial` finds others when that is lost.
    #[must_use]
    pub fn over(self, circuit: Circuit, redial: Option<Arc<dyn Redial>>) -> Stream {
        start(self.state, circuit, redial)
    }
}

/// What the stream's task, readers and writers share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// The task has something to look at.
    kick: Notify,
    /// When the task looks at the times by itself, in Unix milliseconds.
    armed_ms: AtomicU64,
    /// Another circuit, for an accepter.
    pub(crate) handed: Mutex<Option<Circuit>>,
    pub(crate) opened: Notify,
}

pub(crate) struct State {
    pub(crate) core: protocol::stream::Stream,
    sender: Option<Box<dyn CircuitSender>>,
    /// Bytes that may be sent over the circuit.
    credit: i64,
    /// Bytes that came over it and are not granted anew.
    taken: u32,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    frame: Vec<u8>,
    /// Nothing more can be written.
    pub(crate) is_shut: bool,
}

/// Starts the task of a stream.
pub(crate) fn start(
    core: protocol::stream::Stream,
    circuit: Circuit,
    redial: Option<Arc<dyn Redial>>,
) -> Stream {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            core,
            sender: None,
            credit: 0,
            taken: 0,
            reader: None,
            writer: None,
            frame: Vec::new(),
            is_shut: false,
        }),
        kick: Notify::new(),
        armed_ms: AtomicU64::new(0),
        handed: Mutex::new(None),
        opened: Notify::new(),
    });
    let events = shared.take_circuit(circuit);
    tokio::spawn(drive(Arc::clone(&shared), events, redial));
    Stream::new(shared)
}

impl State {
    /// Sends what there is to send, as far as the circuit takes it.
    pub(crate) fn pump(&mut self, now_ms: u64) {
        while self.credit > 0
            && let Some(sender) = &self.sender
        {
            self.frame.clear();
            if !self.core.poll_transmit(&mut self.frame, now_ms) {
                break;
            }
            self.credit -= self.frame.len() as i64;
            sender.send(&self.frame);
        }
        if !self.core.has_circuit() {
            self.sender = None;
        }
        if self.frame.capacity() > MAX_FRAME_BYTES / 4 && self.core.is_flushed() {
            // An idle stream keeps no buffers.
            self.frame = Vec::new();
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn take(&mut self, event: CircuitEvent, now_ms: u64) {
        match event {
            CircuitEvent::Credit(bytes) => self.credit += i64::from(bytes),
            CircuitEvent::Frame(frame) => {
                self.taken = self.taken.saturating_add(frame.len() as u32);
                if let Err(error) = self.core.handle_frame(frame, now_ms) {
                    tracing::debug!(target: "streams", %error, "a circuit is given up");
                }
            }
        }
    }

    fn give_credit(&mut self) {
        if self.taken >= CREDIT_PIECE_BYTES
            && let Some(sender) = &self.sender
        {
            sender.grant(self.taken);
            self.taken = 0;
        }
    }
}

impl Shared {
    /// The task should look at its times again, if they are earlier now.
    pub(crate) fn rearm(&self, state: &State) {
        let next = state.core.next_timeout().unwrap_or(0);
        if next < self.armed_ms.load(Ordering::Relaxed) || state.core.end().is_some() {
            self.kick.notify_one();
        }
    }

    fn take_circuit(&self, circuit: Circuit) -> mpsc::UnboundedReceiver<CircuitEvent> {
        let Circuit {
            sender,
            events,
            first,
        } = circuit;
        self.attach(&mut self.state.lock(), sender, first);
        events
    }

    /// The circuit that a stream was handed meanwhile.
    fn take_handed(&self) -> Option<mpsc::UnboundedReceiver<CircuitEvent>> {
        // Under one lock, or another one could be handed meanwhile, and its frames go into this one.
        let mut state = self.state.lock();
        let Circuit {
            sender,
            events,
            first,
        } = self.handed.lock().take()?;
        self.attach(&mut state, sender, first);
        Some(events)
    }

    fn attach(
        &self,
        state: &mut State,
        sender: Box<dyn CircuitSender>,
        first: Option<CircuitEvent>,
    ) {
        // The window is granted at once; what comes is granted anew as it is taken.
        sender.grant(CIRCUIT_CREDIT_BYTES - INITIAL_CREDIT_BYTES);
        state.sender = Some(sender);
        (state.credit, state.taken) = (i64::from(INITIAL_CREDIT_BYTES), 0);
        let now_ms = now_ms();
        if let Some(event) = first {
            state.take(event, now_ms);
        }
        state.pump(now_ms);
    }

    /// Takes another circuit for an accepter's stream; false if whoever asks has no right to that.
    pub(crate) fn reattach(&self, open: &OpenStream, circuit: impl FnOnce() -> Circuit) -> bool {
        let mut state = self.state.lock();
        if state.core.reattach(open, now_ms(), &mut OsRng).is_err() {
            return false;
        }
        *self.handed.lock() = Some(circuit());
        // Nothing of the new circuit must go into the old one.
        state.sender = None;
        drop(state);
        self.kick.notify_one();
        true
    }
}

async fn drive(
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<CircuitEvent>,
    redial: Option<Arc<dyn Redial>>,
) {
    let mut events = Some(events);
    let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
    // The first try is made at once; a circuit that is refused at once must not lead to the next one at once.
    let mut wait = Duration::ZERO;
    loop {
        if let Some(new) = shared.take_handed() {
            events = Some(new);
        }
        let (due_ms, is_over, wants_circuit) = {
            let state = shared.state.lock();
            let due = state.core.next_timeout();
            let is_over = state.core.is_silent();
            if state.core.is_heard() {
                wait = Duration::ZERO;
            }
            (due, is_over, state.core.is_detached() && redial.is_some())
        };
        if is_over {
            break;
        }
        if wants_circuit && let Some(redial) = &redial {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                tick(&shared);
            }
            wait = (wait * 2).clamp(REDIAL_FIRST, REDIAL_MOST);
            match redial_once(&shared, &**redial).await {
                Some(Ok(new)) => {
                    events = Some(new);
                    continue;
                }
                // It is over, and whoever waits for it is to be told.
                Some(Err(_)) => continue,
                None => {}
            }
        }
        let due_ms = due_ms.unwrap_or(u64::MAX);
        shared.armed_ms.store(due_ms, Ordering::Relaxed);
        let in_ms = due_ms.saturating_sub(now_ms()).min(86_400_000);
        let due = Instant::now() + Duration::from_millis(in_ms);
        tokio::select! {
            biased;
            count = receive(&mut events, &mut batch) => took(&shared, &mut events, &mut batch, count),
            () = shared.kick.notified() => {}
            () = tokio::time::sleep_until(due) => tick(&shared),
        }
    }
    let mut state = shared.state.lock();
    state.sender = None;
    state.wake();
    shared.opened.notify_waiters();
}

/// Waits for events; for ever if there is no circuit.
async fn receive(
    events: &mut Option<mpsc::UnboundedReceiver<CircuitEvent>>,
    batch: &mut Vec<CircuitEvent>,
) -> usize {
    match events {
        Some(events) => events.recv_many(batch, EVENTS_AT_ONCE).await,
        None => std::future::pending().await,
    }
}

fn took(
    shared: &Shared,
    events: &mut Option<mpsc::UnboundedReceiver<CircuitEvent>>,
    batch: &mut Vec<CircuitEvent>,
    count: usize,
) {
    let now_ms = now_ms();
    let mut state = shared.state.lock();
    if shared.handed.lock().is_some() {
        // These are the last words of the old circuit.
        batch.clear();
        *events = None;
        return;
    }
    let was_opened = state.core.is_opened();
    if count == 0 {
        *events = None;
        state.core.detach(now_ms);
    }
    for event in batch.drain(..) {
        state.take(event, now_ms);
    }
    if !state.core.has_circuit() {
        *events = None;
    }
    state.give_credit();
    state.pump(now_ms);
    state.wake();
    if (state.core.is_opened() && !was_opened) || state.core.end().is_some() {
        shared.opened.notify_waiters();
    }
}

fn tick(shared: &Shared) {
    let now_ms = now_ms();
    let mut state = shared.state.lock();
    state.core.handle_timeout(now_ms);
    state.pump(now_ms);
    if state.core.end().is_some() {
        state.wake();
        shared.opened.notify_waiters();
    }
}

/// Tries to have another circuit; `None` if the stream can't be resumed.
async fn redial_once(
    shared: &Shared,
    redial: &dyn Redial,
) -> Option<Result<mpsc::UnboundedReceiver<CircuitEvent>, RedialError>> {
    let command = shared.state.lock().core.resume(now_ms(), &mut OsRng).ok()?;
    Some(match redial.redial(command).await {
        Ok(circuit) => Ok(shared.take_circuit(circuit)),
        Err(error) => {
            let mut state = shared.state.lock();
            state.core.detach(now_ms());
            if matches!(error, RedialError::Refused) {
                state.core.reset(protocol::stream::Reset::Unknown);
            }
            Err(error)
        }
    })
}

/// How a stream that is over looks to whoever reads or writes it.
pub(crate) fn error_of(end: End) -> std::io::Error {
    use protocol::stream::Reset;
    use std::io::ErrorKind;
    let (End::ResetHere(reset) | End::ResetThere(reset)) = end else {
        return ErrorKind::BrokenPipe.into();
    };
    let kind = match reset {
        Reset::Aborted => ErrorKind::ConnectionReset,
        Reset::Denied => ErrorKind::PermissionDenied,
        Reset::NoSuchHost => ErrorKind::NotFound,
        Reset::Unreachable => ErrorKind::HostUnreachable,
        Reset::Refused => ErrorKind::ConnectionRefused,
        Reset::TimedOut => ErrorKind::TimedOut,
        _ => ErrorKind::ConnectionAborted,
    };
    std::io::Error::new(kind, reset)
}
