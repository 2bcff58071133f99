//! Devices, marks, age and removal: changes of a queue's state, each on condition of the state before.

use std::sync::Arc;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use mailbox::{ControlError, Cursor, DEVICES_MAX, DeviceId, QueueId};

use crate::follow;
use crate::message::{packets_filter, state_headers, state_subject};
use crate::state::{Device, QueueState};
use crate::store::{Closed, SEEN_WITHIN, Shared, is_conflict, is_full};
use crate::sweep::Gone;
use crate::view::Queue;

/// How often a change is tried while other processes change the same queue.
const TRIES: usize = 32;

/// A device's time of last use is written anew when it is older than this: 1 hour.
const SEEN_PRECISION_MS: u64 = 60 * 60 * 1000;

/// How long an empty queue without devices is remembered beyond the time to live: 2 days.
const IDLE_MS: u64 = 48 * 60 * 60 * 1000;

/// What a change makes of a queue's state.
enum Change<T> {
    /// There is nothing to write.
    None(T),
    Write(QueueState, T),
}

/// The outcome of a change, and how many packets it deleted.
struct Done<T> {
    value: T,
    deleted: u64,
}

impl Shared {
    pub(crate) async fn register_device(
        &self,
        id: QueueId,
        device: DeviceId,
        now_ms: u64,
    ) -> Result<Cursor, ControlError> {
        let _open = self.enter().await.map_err(|Closed| ControlError::Closed)?;
        let limit = self.config.max_queues;
        {
            let view = self.view.lock();
            if !view.queues.contains_key(&id) && view.queues.len() >= limit {
                return Err(ControlError::TooManyQueues { limit });
            }
        }
        let change = |queue: &Queue| {
            let mut state = queue.state.clone();
            if let Some(known) = state.devices.iter_mut().find(|known| known.id == device) {
                let mark = Cursor::new(known.acknowledged);
                if known.seen_ms.saturating_add(SEEN_PRECISION_MS) > now_ms {
                    return Ok(Change::None(mark));
                }
                known.seen_ms = now_ms;
                return Ok(Change::Write(state, mark));
            }
            if state.drop_idle(now_ms) {
                state.delete_acknowledged();
            }
            if state.devices.len() >= DEVICES_MAX {
                return Err(ControlError::TooManyDevices { limit: DEVICES_MAX });
            }
            let acknowledged = state.live_from.saturating_sub(1);
            state.devices.push(Device {
                id: device,
                acknowledged,
                seen_ms: now_ms,
            });
            Ok(Change::Write(state, Cursor::new(acknowledged)))
        };
        self.change(id, now_ms, change).await.map(|done| done.value)
    }

    pub(crate) async fn acknowledge(
        &self,
        id: QueueId,
        device: DeviceId,
        up_to: Cursor,
        now_ms: u64,
    ) -> Result<(), ControlError> {
        let _open = self.enter().await.map_err(|Closed| ControlError::Closed)?;
        let change = |queue: &Queue| {
            let mut state = queue.state.clone();
            let known = state.devices.iter_mut().find(|known| known.id == device);
            let known = known.ok_or(ControlError::UnknownDevice)?;
            let last = queue.last();
            if up_to.value() > last {
                return Err(ControlError::PastEnd {
                    up_to,
                    last: Cursor::new(last),
                });
            }
            let stale = known.seen_ms.saturating_add(SEEN_PRECISION_MS) <= now_ms;
            if up_to.value() <= known.acknowledged && !stale {
                return Ok(Change::None(()));
            }
            known.acknowledged = known.acknowledged.max(up_to.value());
            known.seen_ms = known.seen_ms.max(now_ms);
            state.delete_acknowledged();
            Ok(Change::Write(state, ()))
        };
        self.change(id, now_ms, change).await.map(|done| done.value)
    }

    /// Deletes what is past its time in one queue and drops idle devices; returns how many packets went.
    pub(crate) async fn expire_queue(&self, id: QueueId, now_ms: u64) -> Result<u64, ControlError> {
        let limit_ms = now_ms.checked_sub(self.config.ttl_ms);
        let change = |queue: &Queue| {
            let mut state = queue.state.clone();
            if state.drop_idle(now_ms) {
                state.delete_acknowledged();
            }
            if let Some(first) = queue.first_younger(limit_ms) {
                state.live_from = state.live_from.max(first);
            }
            if state == queue.state {
                return Ok(Change::None(()));
            }
            Ok(Change::Write(state, ()))
        };
        self.change(id, now_ms, change)
            .await
            .map(|done| done.deleted)
    }

    pub(crate) async fn expire(&self, now_ms: u64) -> Result<u64, ControlError> {
        let _open = self.enter().await.map_err(|Closed| ControlError::Closed)?;
        let queues: Vec<QueueId> = self.view.lock().queues.keys().copied().collect();
        let mut deleted = 0;
        for id in queues {
            deleted += self.expire_queue(id, now_ms).await?;
        }
        let idle_before = now_ms.saturating_sub(self.config.ttl_ms + IDLE_MS);
        self.view.lock().forget_idle(idle_before);
        Ok(deleted)
    }

    pub(crate) async fn remove_queue(&self, id: QueueId) -> Result<(), ControlError> {
        let _open = self.enter().await.map_err(|Closed| ControlError::Closed)?;
        let written_ms = match self.view.lock().queues.get(&id) {
            None => return Ok(()),
            // No clock here: the time of what is newest will do.
            Some(queue) => {
                let newest = queue.packets.values().next_back();
                newest
                    .map_or(0, |kept| kept.stored_at_ms)
                    .max(queue.state.written_ms)
            }
        };
        let state = QueueState {
            removed: true,
            written_ms,
            ..QueueState::default()
        };
        let headers = state_headers(&state, None, self.config.ttl_ms);
        let subject = state_subject(&self.prefix, &id);
        let published = self.publish(&subject, headers, Bytes::new()).await;
        let sequence = published.map_err(control_error)?;
        follow::wait_for(&self.progress, sequence, SEEN_WITHIN).await;
        // From here on it is gone; this frees the room.
        let filter = packets_filter(&self.prefix, &id);
        let purged = self.stream.purge().filter(filter).sequence(sequence).await;
        purged.map(drop).map_err(|error| failed(error.into()))
    }

    /// Changes a queue's state on condition that it is still what the change was made of.
    async fn change<T>(
        &self,
        id: QueueId,
        now_ms: u64,
        mut change: impl FnMut(&Queue) -> Result<Change<T>, ControlError>,
    ) -> Result<Done<T>, ControlError> {
        let subject = state_subject(&self.prefix, &id);
        for _ in 0..TRIES {
            let (mut state, value, seen_at, gone) = {
                let view = self.view.lock();
                let unknown = Queue::default();
                let queue = view.queues.get(&id).unwrap_or(&unknown);
                let (state, value) = match change(queue)? {
                    Change::None(value) => return Ok(Done { value, deleted: 0 }),
                    Change::Write(state, value) => (state, value),
                };
                let dropped = queue.packets.range(..state.live_from);
                let gone: Vec<Gone> = dropped
                    .map(|(cursor, kept)| Gone {
                        queue: id,
                        hash: kept.hash,
                        cursor: *cursor,
                        stored_at_ms: kept.stored_at_ms,
                    })
                    .collect();
                (state, value, queue.state_at, gone)
            };
            (state.removed, state.written_ms) = (false, now_ms);
            let headers = state_headers(&state, Some(seen_at), self.config.ttl_ms);
            match self.publish(&subject, headers, Bytes::new()).await {
                Ok(sequence) => {
                    follow::wait_for(&self.progress, sequence, SEEN_WITHIN).await;
                    let deleted = gone.len() as u64;
                    self.sweeper.sweep(gone);
                    return Ok(Done { value, deleted });
                }
                Err(error) if is_conflict(&error) => self.see_state(&id, &subject, seen_at).await?,
                Err(error) => return Err(control_error(error)),
            }
        }
        Err(ControlError::Busy)
    }

    /// Waits until the view has the state that the servers have.
    async fn see_state(
        &self,
        id: &QueueId,
        subject: &str,
        seen_at: u64,
    ) -> Result<(), ControlError> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(found) => {
                follow::wait_for(&self.progress, found.sequence, SEEN_WITHIN).await;
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                self.view.lock().forget_state(id, seen_at);
            }
            Err(error) => return Err(failed(error.into())),
        }
        Ok(())
    }
}

fn control_error(error: async_nats::jetstream::context::PublishError) -> ControlError {
    if is_full(&error) {
        ControlError::DiskFull
    } else if error.kind() == PublishErrorKind::MaxAckPending {
        ControlError::Busy
    } else {
        failed(error.into())
    }
}

fn failed(error: async_nats::Error) -> ControlError {
    ControlError::Io(Arc::new(std::io::Error::other(error)))
}
