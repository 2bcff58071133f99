//! The answering end of a link.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use packet::SizeClass;
use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, INITIAL_CREDIT_BYTES, Incoming, MAX_LIFETIME_MS, Opener, Sealer};
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::circuit::{Circuit, Whose};
use super::dial::Passage;
use super::pipe::{Far, Frames, Peer, PipeError, read_handshake, write_frames, write_handshake};
use super::queue::{NotQueued, Queue, queue, region_kib};
use super::transit::Passing;
use super::{Items, Reply};
use crate::config::DRAIN_TIMEOUT;
use crate::forward::{Arrived, Router, patience};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream's sender may not save up more credit than this.
const MAX_CREDIT_BYTES: i64 = 16 << 20;
/// Requests of one link that are being worked on at once; one more is refused as busy.
const MAX_REQUESTS: usize = 4_096;
/// Regions of those requests in KiB.
const MAX_REQUESTS_KIB: usize = 64 * 1_024;
/// Streams of one link at once.
const MAX_STREAMS: usize = 16_384;
/// Circuits of one link at once.
const MAX_CIRCUITS: usize = 65_536;
/// Circuits of one client at once.
const MAX_CIRCUITS_OF_CLIENT: usize = 4_096;

#[derive(Debug, Error)]
pub(crate) enum AcceptError {
    #[error("the handshake took too long")]
    Slow,
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the handshake failed")]
    Handshake(#[from] protocol::session::SessionError),
    #[error("the dialer is no node of the ledger")]
    Stranger,
    #[error("the dialer keeps too many links")]
    TooMany,
    #[error(transparent)]
    Pipe(#[from] PipeErrorOf),
}

/// Hides the pipe's own error type behind the link's.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) struct PipeErrorOf(#[from] PipeError);

#[derive(Debug)]
enum Request {
    /// A task works on it.
    Task {
        cancelled: CancellationToken,
        credit: Arc<Credit>,
    },
    /// It went straight on to another link.
    Passed(Passage),
    /// Both ends go on sending.
    Circuit(Arc<Circuit>),
}

/// What a stream may still send.
#[derive(Debug)]
struct Credit {
    bytes: AtomicI64,
    granted: Notify,
}

/// What the tasks of an accepted link share.
pub(super) struct Serving {
    router: Arc<Router>,
    peer: Peer,
    queue: Queue,
    requests: Mutex<HashMap<u64, Request>>,
    room: Arc<Semaphore>,
    room_kib: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Places for circuits.
    circuits: Semaphore,
    /// Ends every request of the link.
    over: CancellationToken,
}

/// Serves a link that another node has dialled, until it ends or the node stops.
pub(crate) async fn accept(
    socket: TcpStream,
    early: Bytes,
    router: Arc<Router>,
) -> Result<(), AcceptError> {
    socket.set_nodelay(true)?;
    let begun = async {
        let (peer, socket, sealer, opener) = shake_hands(socket, early, &router).await?;
        let (read_half, write_half) = socket.into_split();
        let eyes = router.local().eyes.clone();
        let far = Far { peer, eyes };
        let mut frames = Frames::new(read_half, opener, BytesMut::new(), far.clone());
        // The first message can be a recorded one. A first frame can not: until it comes, the link takes
        // no room from the node that it claims to be of.
        let first = frames.next().await.map_err(PipeErrorOf)?.detached();
        Ok::<_, AcceptError>((far, write_half, sealer, frames, first))
    };
    let (far, write_half, sealer, frames, first) = tokio::time::timeout(HANDSHAKE_TIMEOUT, begun)
        .await
        .map_err(|_| AcceptError::Slow)??;
    let (_place, most_circuits) = match far.peer {
        Peer::Node(node) => {
            let place = router.links().admit(node).ok_or(AcceptError::TooMany)?;
            (Some(place), MAX_CIRCUITS)
        }
        // A client's place is that of its connection.
        Peer::Client(_) => (None, MAX_CIRCUITS_OF_CLIENT),
    };

    let (queue, queued) = queue(far.clone());
    let serving = Arc::new(Serving {
        router: Arc::clone(&router),
        peer: far.peer,
        queue,
        requests: Mutex::default(),
        room: Arc::new(Semaphore::new(MAX_REQUESTS)),
        room_kib: Arc::new(Semaphore::new(MAX_REQUESTS_KIB)),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        circuits: Semaphore::new(most_circuits),
        over: CancellationToken::new(),
    });
    // Also if this future is dropped.
    let over = Over(Arc::clone(&serving));
    let shutdown = router.shutdown().clone();
    let mut writing = tokio::spawn(write_frames(write_half, sealer, queued, false));
    let mut written = false;
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        () = tokio::time::sleep(Duration::from_millis(MAX_LIFETIME_MS)) => Ok(()),
        ended = &mut writing => {
            written = true;
            ended.unwrap_or(Ok(()))
        }
        ended = Arc::clone(&serving).read(first, frames) => ended,
    };
    if shutdown.is_cancelled() {
        serving.drain().await;
    }
    drop(over);
    drop(serving);
    if !written {
        let _slow = tokio::time::timeout(DRAIN_TIMEOUT, &mut writing).await;
        writing.abort();
    }
    ended.map_err(|e| PipeErrorOf(e).into())
}

async fn shake_hands(
    mut socket: TcpStream,
    early: Bytes,
    router: &Router,
) -> Result<(Peer, TcpStream, Sealer, Opener), AcceptError> {
    let local = router.local();
    let message = if early.is_empty() {
        read_handshake(&mut socket).await?
    } else {
        let mut joined = (&early[..]).chain(&mut socket);
        read_handshake(&mut joined).await?
    };
    let (peer, answer, sealer, opener) =
        Handshake::accept(local.me, &local.transport_secret, 0, &message)?;
    let peer = if peer.is_client() {
        Peer::Client(socket.peer_addr()?)
    } else {
        let known = router
            .ledger()
            .node(&peer.node)
            .is_some_and(|n| n.transport_key == peer.transport_key);
        if !known || peer.node == local.me {
            return Err(AcceptError::Stranger);
        }
        Peer::Node(peer.node)
    };
    write_handshake(&mut socket, &answer).await?;
    Ok((peer, socket, sealer, opener))
}

impl Serving {
    /// Asks for no more, lets what is under way finish; streams have no end to wait for.
    async fn drain(&self) {
        self.queue.insist(Header::control(Kind::GoAway, 0));
        let all = self.room.acquire_many(MAX_REQUESTS as u32);
        let _slow = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
    }

    /// Serves frames, of which the first has come already. Waits for nothing but the writer, which the
    /// dialer empties whatever else it does: no request holds up those behind it.
    async fn read(
        self: Arc<Self>,
        first: Incoming,
        mut frames: Frames<OwnedReadHalf>,
    ) -> Result<(), PipeError> {
        let mut next = first;
        loop {
            self.serve(next).await?;
            next = frames.next().await?;
        }
    }

    async fn serve(self: &Arc<Self>, frame: Incoming) -> Result<(), PipeError> {
        let header = frame.header;
        match header.kind {
            Kind::Data => {
                let circuit = match self.requests.lock().get(&header.request) {
                    Some(Request::Circuit(circuit)) => Some(Arc::clone(circuit)),
                    _ => None,
                };
                // What is on its way to a circuit that is over means nothing.
                if let Some(circuit) = circuit {
                    circuit.data(Whose::Asker, &frame.payload);
                }
            }
            Kind::Packet if header.circuit => {
                return self.begin_circuit(header, frame.detached().payload).await;
            }
            // A client's packets come in exchanges, whose shape is their site's.
            Kind::Packet if matches!(self.peer, Peer::Client(_)) => {
                return self.refuse(header.request, Refusal::Unsupported).await;
            }
            Kind::Packet => {
                if self.pass(&header, &frame.payload)? {
                    return Ok(());
                }
                return self.begin(header, frame.detached().payload).await;
            }
            Kind::Cancel => self.cancel(header.request),
            Kind::Credit => {
                let circuit = match self.requests.lock().get(&header.request) {
                    Some(Request::Task { credit, .. }) => {
                        credit.grant(header.credit);
                        None
                    }
                    Some(Request::Circuit(circuit)) => Some(Arc::clone(circuit)),
                    _ => None,
                };
                if let Some(circuit) = circuit {
                    circuit.grant(Whose::Asker, header.credit);
                }
            }
            Kind::Ping => {
                let pong = Header::control(Kind::Pong, header.request);
                return self.queue.put_control(pong).await.map_err(closed);
            }
            // A dialer has nothing else to say here.
            Kind::Answer | Kind::Item | Kind::Pong | Kind::GoAway => {}
        }
        Ok(())
    }

    /// Stops what works on a request. Its name is free once that has ended.
    fn cancel(&self, request: u64) {
        let passage = match self.requests.lock().get(&request) {
            Some(Request::Task { cancelled, .. }) => return cancelled.cancel(),
            Some(Request::Passed(passage)) => Ok(passage.clone()),
            Some(Request::Circuit(circuit)) => Err(Arc::clone(circuit)),
            None => return,
        };
        match passage {
            Ok(passage) => passage.cancel(),
            Err(circuit) => {
                self.forget_circuit(request);
                circuit.close(Whose::Asker, None);
            }
        }
    }

    /// A circuit's name and place are free again; false if they were.
    fn forget_circuit(&self, request: u64) -> bool {
        let forgotten = self.requests.lock().remove(&request).is_some();
        if forgotten {
            self.circuits.add_permits(1);
            self.router.metrics().circuits.dec();
        }
        forgotten
    }

    /// The far end of a circuit is gone.
    pub(super) fn end_circuit(&self, request: u64, answer: &[u8]) {
        if self.forget_circuit(request) {
            let header = Header::answer(request, SizeClass::K4, 0);
            self.queue.insist_on_answer(header, answer);
        }
    }

    async fn refuse(&self, request: u64, refusal: Refusal) -> Result<(), PipeError> {
        let answer = Answer::Refused(refusal).encode();
        let header = Header::answer(request, SizeClass::K4, 0);
        self.queue.put(header, answer.into()).await.map_err(closed)
    }

    /// Begins a circuit, which goes where its packet is decided to go.
    async fn begin_circuit(
        self: &Arc<Self>,
        header: Header,
        packet: Bytes,
    ) -> Result<(), PipeError> {
        let request = header.request;
        if self.requests.lock().contains_key(&request) {
            return Err(PipeError::Repeated);
        }
        let Ok(place) = self.circuits.try_acquire() else {
            return self.refuse(request, Refusal::Busy).await;
        };
        place.forget();
        self.router.metrics().circuits.inc();
        let circuit = Circuit::asked_for(self, request);
        let named = Request::Circuit(Arc::clone(&circuit));
        self.requests.lock().insert(request, named);
        let mut arrived = match self.peer {
            Peer::Node(node) => Arrived::from_link(node, header, packet),
            Peer::Client(_) => Arrived::from_client(&header, packet),
        };
        arrived.circuit = Some(Arc::clone(&circuit));
        let router = Arc::clone(&self.router);
        tokio::spawn(async move {
            match router.route(arrived).await {
                Reply::Circuit => {}
                Reply::Answer(answer) => circuit.refuse_sealed(&answer),
                // Nothing that takes a circuit answers by a stream.
                Reply::Stream(_) => circuit.close(Whose::Asked, None),
            }
        });
        Ok(())
    }

    /// Sends a packet straight on if all that takes is at hand; false if it needs a task.
    fn pass(self: &Arc<Self>, header: &Header, packet: &[u8]) -> Result<bool, PipeError> {
        let Some((asker, hops)) = self.router.passes_on(header, packet) else {
            return Ok(false);
        };
        let Some(kib) = region_kib(packet) else {
            return Ok(false);
        };
        if self.requests.lock().contains_key(&header.request) {
            return Err(PipeError::Repeated);
        }
        // Without room the task that is not begun says so.
        let Ok(one) = self.room.try_acquire() else {
            return Ok(false);
        };
        let Ok(regions) = self.room_kib.try_acquire_many(kib) else {
            return Ok(false);
        };
        one.forget();
        regions.forget();
        let passage = asker.passage();
        let passed = Request::Passed(passage.clone());
        self.requests.lock().insert(header.request, passed);
        let passing = Passing::new(Arc::clone(self), header.request, kib);
        let onward = Header { hops, ..*header };
        asker.pass(&passage, onward, packet, passing, patience(hops));
        Ok(true)
    }

    /// A request that went straight on has its answer, or nobody waits for it.
    pub(super) fn passed(&self, request: u64, kib: u32) {
        self.requests.lock().remove(&request);
        self.room.add_permits(1);
        self.room_kib.add_permits(kib as usize);
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    async fn begin(self: &Arc<Self>, header: Header, payload: Bytes) -> Result<(), PipeError> {
        if self.requests.lock().contains_key(&header.request) {
            return Err(PipeError::Repeated);
        }
        let Some(room) = self.room_for(&payload) else {
            return self.refuse(header.request, Refusal::Busy).await;
        };
        let cancelled = self.over.child_token();
        let credit = Arc::new(Credit {
            bytes: AtomicI64::new(i64::from(INITIAL_CREDIT_BYTES)),
            granted: Notify::new(),
        });
        let request = Request::Task {
            cancelled: cancelled.clone(),
            credit: Arc::clone(&credit),
        };
        self.requests.lock().insert(header.request, request);
        let serving = Arc::clone(self);
        tokio::spawn(async move {
            let _named = Named(&serving, header.request);
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {}
                _ = serving.answer(header, payload, &credit, room) => {}
            }
        });
        Ok(())
    }

    fn room_for(&self, payload: &Bytes) -> Option<[OwnedSemaphorePermit; 2]> {
        let one = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let kib = Arc::clone(&self.room_kib)
            .try_acquire_many_owned(region_kib(payload)?)
            .ok()?;
        Some([one, kib])
    }

    async fn answer(
        &self,
        header: Header,
        packet: Bytes,
        credit: &Credit,
        room: [OwnedSemaphorePermit; 2],
    ) -> Result<(), NotQueued> {
        let request = header.request;
        let Peer::Node(peer) = self.peer else {
            return Ok(());
        };
        let arrived = Arrived::from_link(peer, header, packet);
        let last = match self.router.route(arrived).await {
            Reply::Answer(payload) => payload,
            Reply::Circuit => Answer::Refused(Refusal::Unsupported).encode().into(),
            Reply::Stream(items) => {
                // Streams last for days; only what is short counts against the link's room.
                drop(room);
                match self.streams.try_acquire() {
                    Ok(_one) => {
                        self.pass_on(request, items, credit).await?;
                        Answer::Done.encode().into()
                    }
                    Err(_) => Answer::Refused(Refusal::Busy).encode().into(),
                }
            }
        };
        self.queue
            .put(Header::answer(request, SizeClass::K4, 0), last)
            .await
    }

    /// Sends a stream's items as far as its reader has granted.
    async fn pass_on(
        &self,
        request: u64,
        mut items: Items,
        credit: &Credit,
    ) -> Result<(), NotQueued> {
        loop {
            // An item is not even taken before it may go: thousands of readers may have stopped reading.
            credit.some().await;
            let Some(item) = items.recv().await else {
                return Ok(());
            };
            let kib = region_kib(&item).ok_or(NotQueued::TooLarge)?;
            credit.spend(i64::from(kib) * 1024);
            self.queue
                .put(Header::item(request, SizeClass::K4, 0), item)
                .await?;
        }
    }
}

fn closed(_: NotQueued) -> PipeError {
    PipeError::Closed
}

/// Ends every request of a link when dropped.
struct Over(Arc<Serving>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.cancel();
        let (mut passed, mut circuits) = (Vec::new(), Vec::new());
        for (number, request) in &*self.0.requests.lock() {
            match request {
                Request::Passed(passage) => passed.push(passage.clone()),
                Request::Circuit(circuit) => circuits.push((*number, Arc::clone(circuit))),
                Request::Task { .. } => {}
            }
        }
        for passage in passed {
            passage.cancel();
        }
        for (number, circuit) in circuits {
            self.0.forget_circuit(number);
            circuit.close(Whose::Asker, None);
        }
    }
}

/// A request's name, free again when its task ends, however it ends.
struct Named<'s>(&'s Serving, u64);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        self.0.requests.lock().remove(&self.1);
    }
}

impl Credit {
    fn grant(&self, bytes: u32) {
        let raised = |left: i64| Some((left + i64::from(bytes)).min(MAX_CREDIT_BYTES));
        let _always = self
            .bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, raised);
        self.granted.notify_one();
    }

    /// Waits until there is any credit.
    async fn some(&self) {
        while self.bytes.load(Ordering::Acquire) <= 0 {
            self.granted.notified().await;
        }
    }

    /// Takes `bytes`, if need be more than there are.
    fn spend(&self, bytes: i64) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credit_is_spent_below_zero_once_and_capped_when_saved_up() {
        let credit = Credit {
            bytes: AtomicI64::new(1),
            granted: Notify::new(),
        };
        credit.some().await;
        credit.spend(1 << 20);
        let waiting = tokio::time::timeout(Duration::from_millis(20), credit.some());
        assert!(waiting.await.is_err(), "it is below zero");
        credit.grant(1 << 20);
        credit.some().await;
        credit.spend(1);
        for _ in 0..20 {
            credit.grant(u32::MAX);
        }
        assert_eq!(credit.bytes.load(Ordering::Acquire), MAX_CREDIT_BYTES);
    }
}
