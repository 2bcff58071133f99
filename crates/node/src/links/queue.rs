//! What waits for a link's writer: bounded in bytes, written once where it will be sealed.
//!
//! Whoever has a frame for the link lays it out in the batch that waits; the writer takes the whole batch and
//! leaves an empty one. So a frame is copied once, and as many go into one write as came meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use packet::SizeClass;
use parking_lot::Mutex;
use protocol::frame::Header;
use protocol::link::Batch;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};

use super::circuit::{Circuit, Whose};
use super::pipe::Far;

/// Regions that wait for a link's writer at most, in KiB: sixteen of the largest, a tenth of a second at
/// gigabit speed. A frame without a region counts as [`CONTROL_KIB`].
const QUEUE_KIB: usize = 16 * 1_024;
const CONTROL_KIB: u32 = 1;
/// Bytes of circuits that wait for a link's writer at most; what would be more breaks its circuit. Credit keeps it far
/// below that.
const MAX_DATA_BYTES: usize = 256 << 20;
/// With more than this waiting nobody is granted more that would have to wait here: some ten milliseconds at gigabit speed.
const CONGESTED_BYTES: usize = 2 << 20;

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum NotQueued {
    #[error("the link's queue is full")]
    Full,
    #[error("the link has ended")]
    Ended,
    #[error("the payload fits no class")]
    TooLarge,
}

/// The sending end of a link's queue; cheap to clone. The writer ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<SendingEnd>);

#[derive(Debug)]
struct SendingEnd(Arc<Lane>);

/// The writer's end.
#[derive(Debug)]
pub(super) struct Queued(Arc<Lane>);

#[derive(Debug)]
struct Lane {
    far: Far,
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// Room in KiB; closed when the writer ends.
    room: Semaphore,
    /// Nobody is left who could send.
    over: AtomicBool,
    /// Bytes of circuits that wait, or are being written.
    data_bytes: AtomicUsize,
    /// What circuits granted while the link was congested, or had no room for saying so: each end of one once.
    withheld: Mutex<Vec<Withheld>>,
}

/// A circuit whose credit is passed on later.
#[derive(Debug)]
struct Withheld {
    circuit: Weak<Circuit>,
    from: Whose,
}

/// What a batch takes of a queue's room.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Taken {
    pub(super) kib: u32,
    pub(super) data_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    taken: Taken,
}

/// A queue and what its writer takes from.
pub(super) fn queue(far: Far) -> (Queue, Queued) {
    let lane = Arc::new(Lane {
        far,
        waiting: Mutex::default(),
        filled: Notify::new(),
        room: Semaphore::new(QUEUE_KIB),
        over: AtomicBool::new(false),
        data_bytes: AtomicUsize::new(0),
        withheld: Mutex::default(),
    });
    (Queue(Arc::new(SendingEnd(Arc::clone(&lane)))), Queued(lane))
}

/// The KiB that a payload's region takes.
pub(super) fn region_kib(payload: &[u8]) -> Option<u32> {
    let class = SizeClass::for_packet_len(payload.len())?;
    u32::try_from(class.frame_bytes() / 1024).ok()
}

impl Lane {
    /// Takes room at once.
    fn take(&self, kib: u32) -> Result<(), NotQueued> {
        match self.room.try_acquire_many(kib) {
            Ok(room) => room.forget(),
            Err(_) if self.room.is_closed() => return Err(NotQueued::Ended),
            Err(_) => return Err(NotQueued::Full),
        }
        Ok(())
    }

    async fn wait_for(&self, kib: u32) -> Result<(), NotQueued> {
        // When the writer ends, the room is closed: nobody waits for ever.
        let room = self.room.acquire_many(kib).await;
        room.map(|room| room.forget()).map_err(|_| NotQueued::Ended)
    }

    /// Lays out a frame whose room was taken.
    fn push(&self, header: Header, payload: &[u8], kib: u32) {
        self.far.sends(header, payload);
        let was_empty = {
            let mut waiting = self.waiting.lock();
            let was_empty = waiting.batch.is_empty();
            // Room is only taken for what fits a class.
            let fits = waiting.batch.push(header, payload);
            debug_assert!(fits, "a frame beyond the largest class was queued");
            waiting.taken.kib += kib;
            was_empty
        };
        if was_empty {
            self.filled.notify_one();
        }
    }
}

impl Queue {
    pub(super) fn has_ended(&self) -> bool {
        self.0.0.room.is_closed()
    }

    /// Queues a frame with a payload, or says at once that there is no room.
    pub(super) fn offer(&self, header: Header, payload: &[u8]) -> Result<(), NotQueued> {
        let kib = region_kib(payload).ok_or(NotQueued::TooLarge)?;
        self.0.0.take(kib)?;
        self.0.0.push(header, payload, kib);
        Ok(())
    }

    /// Queues a frame with a payload as soon as there is room.
    ///
    /// # Cancel safety
    /// Dropping the future queues nothing.
    pub(super) async fn put(&self, header: Header, payload: Bytes) -> Result<(), NotQueued> {
        let kib = region_kib(&payload).ok_or(NotQueued::TooLarge)?;
        self.0.0.wait_for(kib).await?;
        self.0.0.push(header, &payload, kib);
        Ok(())
    }

    /// Queues a frame without a region as soon as there is room.
    pub(super) async fn put_control(&self, header: Header) -> Result<(), NotQueued> {
        self.0.0.wait_for(CONTROL_KIB).await?;
        self.0.0.push(header, &[], CONTROL_KIB);
        Ok(())
    }

    /// Queues a frame without a region, by a task of its own where there is no room now.
    ///
    /// For what must not be lost and is said once for each request, so that the tasks are bounded as the
    /// requests are.
    pub(super) fn insist(&self, header: Header) {
        match self.0.0.take(CONTROL_KIB) {
            Ok(()) => self.0.0.push(header, &[], CONTROL_KIB),
            Err(NotQueued::Full) => self.later(header, None),
            Err(_) => {}
        }
    }

    /// Queues an answer, by a task of its own where there is no room now. Bounded as [`Self::insist`].
    pub(super) fn insist_on_answer(&self, header: Header, payload: &[u8]) {
        if self.offer(header, payload) == Err(NotQueued::Full) {
            self.later(header, Some(Bytes::copy_from_slice(payload)));
        }
    }

    /// Queues bytes of a circuit. Those have no room of their own: they are as many as was granted.
    pub(super) fn data(&self, header: Header, bytes: &[u8]) -> Result<(), NotQueued> {
        let lane = &self.0.0;
        if lane.room.is_closed() {
            return Err(NotQueued::Ended);
        }
        let waiting = lane.data_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if waiting > MAX_DATA_BYTES {
            lane.data_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
            return Err(NotQueued::Full);
        }
        lane.far.sends(header, bytes);
        let was_empty = {
            let mut waiting = lane.waiting.lock();
            let was_empty = waiting.batch.is_empty();
            if !waiting.batch.push(header, bytes) {
                return Err(NotQueued::TooLarge);
            }
            waiting.taken.data_bytes += bytes.len();
            was_empty
        };
        if was_empty {
            lane.filled.notify_one();
        }
        Ok(())
    }

    /// Keeps what a circuit was granted until the link is not congested any more; false if it is not now.
    pub(super) fn withhold(&self, circuit: &Arc<Circuit>, from: Whose) -> bool {
        let is_congested = |lane: &Lane| lane.data_bytes.load(Ordering::Relaxed) > CONGESTED_BYTES;
        self.keep_while(circuit, from, is_congested)
    }

    /// Keeps what a circuit was granted until the link has room for a frame that says so; false if it has now.
    pub(super) fn postpone(&self, circuit: &Arc<Circuit>, from: Whose) -> bool {
        let is_full = |lane: &Lane| lane.room.available_permits() < CONTROL_KIB as usize;
        self.keep_while(circuit, from, is_full)
    }

    fn keep_while(
        &self,
        circuit: &Arc<Circuit>,
        from: Whose,
        has_to_wait: impl Fn(&Lane) -> bool,
    ) -> bool {
        let lane = &self.0.0;
        // The writer looks here after it has made room: what it does not see was asked after that.
        let mut withheld = lane.withheld.lock();
        if self.has_ended() || !has_to_wait(lane) {
            return false;
        }
        withheld.push(Withheld {
            circuit: Arc::downgrade(circuit),
            from,
        });
        true
    }

    fn later(&self, header: Header, payload: Option<Bytes>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let queue = self.clone();
            runtime.spawn(async move {
                let _ended = match payload {
                    Some(payload) => queue.put(header, payload).await,
                    None => queue.put_control(header).await,
                };
            });
        }
    }
}

impl Drop for SendingEnd {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.filled.notify_one();
    }
}

impl Queued {
    /// Takes all that waits, in exchange for an empty batch, and returns its KiB, which take room until
    /// [`Self::give_back`]; `None` once nothing can come any more.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn next(&mut self, batch: &mut Batch) -> Option<Taken> {
        loop {
            let over = self.0.over.load(Ordering::Acquire);
            {
                let mut waiting = self.0.waiting.lock();
                if !waiting.batch.is_empty() {
                    std::mem::swap(&mut waiting.batch, batch);
                    return Some(std::mem::take(&mut waiting.taken));
                }
            }
            if over {
                return None;
            }
            self.0.filled.notified().await;
            // Whoever else is ready now goes first, so that its frames go with this one: a write costs far
            // more than what it carries.
            tokio::task::yield_now().await;
        }
    }

    /// Lays out a frame without a region, of the writer's own, beside what it has taken.
    pub(super) fn add(&self, batch: &mut Batch, header: Header) {
        self.0.far.sends(header, &[]);
        let fits = batch.push(header, &[]);
        debug_assert!(fits, "a frame without a payload");
    }

    /// Makes room again.
    pub(super) fn give_back(&mut self, kib: u32) {
        self.0.room.add_permits(kib as usize);
    }

    /// Bytes of circuits were written. What was granted meanwhile is passed on if the link is not congested any more.
    pub(super) fn wrote_data(&mut self, bytes: usize) {
        let before = self.0.data_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before.saturating_sub(bytes) > CONGESTED_BYTES {
            return;
        }
        let withheld = std::mem::take(&mut *self.0.withheld.lock());
        for Withheld { circuit, from } in withheld {
            if let Some(circuit) = circuit.upgrade() {
                circuit.pass_on(from);
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.room.close();
        self.0.withheld.lock().clear();
        *self.0.waiting.lock() = Waiting::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::pipe::Peer;
    use crate::observer::Eyes;
    use protocol::NodeId;
    use protocol::frame::Kind;

    fn far() -> Far {
        Far {
            peer: Peer::Node(NodeId::from_bytes([7; 20])),
            eyes: Eyes::default(),
        }
    }

    fn large() -> (Header, Bytes) {
        (Header::packet(SizeClass::M1, 0), vec![7; 1 << 20].into())
    }

    #[tokio::test]
    async fn queue_refuses_what_would_take_more_bytes_than_it_may_hold() {
        let (queue, mut queued) = queue(far());
        let (header, payload) = large();
        for _ in 0..QUEUE_KIB / 1024 {
            assert_eq!(queue.offer(header, &payload), Ok(()));
        }
        assert_eq!(queue.offer(header, &payload), Err(NotQueued::Full));
        // What was taken makes room only once it is written.
        let mut batch = Batch::default();
        let Taken { kib, .. } = queued.next(&mut batch).await.unwrap();
        assert_eq!((kib as usize, batch.wire_bytes() >> 20), (QUEUE_KIB, 16));
        assert_eq!(queue.offer(header, &payload), Err(NotQueued::Full));
        queued.give_back(kib);
        assert_eq!(queue.offer(header, &payload), Ok(()));
    }

    #[tokio::test]
    async fn insisted_frames_come_though_the_queue_was_full() {
        let (queue, mut queued) = queue(far());
        let (header, payload) = large();
        while queue.offer(header, &payload).is_ok() {}
        queue.insist(Header::control(Kind::Cancel, 1));
        queue.insist_on_answer(Header::answer(2, SizeClass::K4, 0), b"answer");
        drop(queue);
        let (mut batch, mut bytes) = (Batch::default(), Vec::new());
        while let Some(taken) = queued.next(&mut batch).await {
            bytes.push(batch.wire_bytes());
            batch.clear();
            queued.give_back(taken.kib);
        }
        let late: usize = bytes.iter().skip(1).sum();
        assert!((64 + 4_160..64 + 4_160 + 100).contains(&late), "{bytes:?}");
    }

    #[tokio::test]
    async fn waiting_for_room_ends_with_the_writer() {
        let (queue, queued) = queue(far());
        let (header, payload) = large();
        while queue.offer(header, &payload).is_ok() {}
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.put(header, payload).await }
        });
        tokio::task::yield_now().await;
        drop(queued);
        assert_eq!(waiting.await.unwrap(), Err(NotQueued::Ended));
        assert_eq!(queue.offer(header, b"x"), Err(NotQueued::Ended));
        assert!(queue.has_ended());
    }
}
