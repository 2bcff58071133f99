//! What waits for a link's writer: bounded in frames and in bytes.

use std::sync::Arc;

use bytes::Bytes;
use packet::SizeClass;
use protocol::frame::Header;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Frames that wait for a link's writer at most.
const QUEUE_FRAMES: usize = 1_024;
/// Regions that wait for it at most, in KiB: sixteen of the largest, a tenth of a second at gigabit speed.
const QUEUE_KIB: usize = 16 * 1_024;

/// A frame for the writer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) header: Header,
    pub(super) payload: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

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

/// The sending end of a link's queue; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    frames: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
}

/// A queue and what its writer takes from.
pub(super) fn queue() -> (Queue, mpsc::Receiver<Outgoing>) {
    let (frames, queued) = mpsc::channel(QUEUE_FRAMES);
    let room = Arc::new(Semaphore::new(QUEUE_KIB));
    (Queue { frames, room }, queued)
}

/// The KiB that a payload's region takes.
pub(super) fn region_kib(payload: &[u8]) -> Option<u32> {
    let class = SizeClass::for_packet_len(payload.len())?;
    u32::try_from(class.frame_bytes() / 1024).ok()
}

impl Queue {
    pub(super) fn has_ended(&self) -> bool {
        self.frames.is_closed()
    }

    /// Queues a frame with a payload, or says at once that there is no room.
    pub(super) fn offer(&self, header: Header, payload: Bytes) -> Result<(), NotQueued> {
        let kib = region_kib(&payload).ok_or(NotQueued::TooLarge)?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(kib)
            .map_err(|_| NotQueued::Full)?;
        let frame = Outgoing {
            header,
            payload,
            _room: Some(room),
        };
        self.frames.try_send(frame).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => NotQueued::Full,
            mpsc::error::TrySendError::Closed(_) => NotQueued::Ended,
        })
    }

    /// Queues a frame with a payload as soon as there is room.
    ///
    /// # Cancel safety
    /// Dropping the future queues nothing.
    pub(super) async fn put(&self, header: Header, payload: Bytes) -> Result<(), NotQueued> {
        let kib = region_kib(&payload).ok_or(NotQueued::TooLarge)?;
        // When the writer ends, what was queued is dropped and its room comes back: nobody waits for ever.
        let room = Arc::clone(&self.room)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| NotQueued::Ended)?;
        let frame = Outgoing {
            header,
            payload,
            _room: Some(room),
        };
        self.frames.send(frame).await.map_err(|_| NotQueued::Ended)
    }

    /// Queues a frame without a region as soon as there is room.
    pub(super) async fn put_control(&self, header: Header) -> Result<(), NotQueued> {
        self.frames
            .send(Outgoing::control(header))
            .await
            .map_err(|_| NotQueued::Ended)
    }

    /// Queues a frame without a region, by a task of its own where there is no room now.
    ///
    /// For what must not be lost and is said once for each request, so that the tasks are bounded as the
    /// requests are.
    pub(super) fn insist(&self, header: Header) {
        if let Err(mpsc::error::TrySendError::Full(frame)) =
            self.frames.try_send(Outgoing::control(header))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let frames = self.frames.clone();
            runtime.spawn(async move {
                let _ended = frames.send(frame).await;
            });
        }
    }
}

impl Outgoing {
    pub(super) fn control(header: Header) -> Self {
        Self {
            header,
            payload: Bytes::new(),
            _room: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::Kind;

    fn large() -> (Header, Bytes) {
        (Header::packet(SizeClass::M1, 0), vec![7; 1 << 20].into())
    }

    #[tokio::test]
    async fn queue_refuses_what_would_take_more_bytes_than_it_may_hold() {
        let (queue, mut queued) = queue();
        let (header, payload) = large();
        for _ in 0..QUEUE_KIB / 1024 {
            assert_eq!(queue.offer(header, payload.clone()), Ok(()));
        }
        assert_eq!(queue.offer(header, payload.clone()), Err(NotQueued::Full));
        // Control frames still pass, and a frame that was taken makes room.
        queue.insist(Header::control(Kind::Cancel, 1));
        drop(queued.recv().await);
        assert_eq!(queue.offer(header, payload), Ok(()));
    }

    #[tokio::test]
    async fn insisted_frame_comes_though_the_queue_was_full_of_frames() {
        let (queue, mut queued) = queue();
        for n in 0..QUEUE_FRAMES as u64 {
            queue
                .put_control(Header::control(Kind::Ping, n))
                .await
                .unwrap();
        }
        queue.insist(Header::control(Kind::Cancel, 9_999));
        drop(queue);
        let mut last = None;
        while let Some(frame) = queued.recv().await {
            last = Some(frame.header.request);
        }
        assert_eq!(last, Some(9_999));
    }

    #[tokio::test]
    async fn waiting_for_room_ends_with_the_writer() {
        let (queue, queued) = queue();
        let (header, payload) = large();
        while queue.offer(header, payload.clone()).is_ok() {}
        let waiting = tokio::spawn(async move { queue.put(header, payload).await });
        tokio::task::yield_now().await;
        drop(queued);
        assert_eq!(waiting.await.unwrap(), Err(NotQueued::Ended));
    }
}
