//! What each change does to the index and to the commit under way.

use super::batch::Batch;
use super::command::{Answer, Command, Failure, Reply};
use super::files::SPARES_RESERVED;
use super::index::Index;
use super::queue::{NewEntry, Queue};
use super::record::{Device, PacketMeta, REMOVED_FRAME_LEN, packet_frame_len};
use super::writer::{COMMIT_BYTES, Wanted, Writer};
use crate::error::{AppendError, ControlError};
use crate::queue::{Cursor, DeviceId, QueueId};
use crate::store::{DEVICE_IDLE_MS, DEVICES_MAX, Stored};

/// Most old packets of its queue that one append deletes or forgets on the way.
const APPEND_CHORES: usize = 256;

/// Most queues that one commit looks through for old packets.
const EXPIRY_QUEUES: usize = 256;

/// Most packets of one queue that one commit deletes or forgets for their age.
const EXPIRY_PACKETS: usize = 4096;

/// A device's time of last use is written anew when it is older than this: 1 hour.
const SEEN_PRECISION_MS: u64 = 60 * 60 * 1000;

/// A search for old packets through all queues, some queues at a time.
pub(super) struct Expiry {
    now_ms: u64,
    queues: Vec<QueueId>,
    deleted: u64,
    reply: Option<Reply<u64, ControlError>>,
}

/// Whether a change found its place in the commit.
enum Fit {
    Planned,
    /// It has to wait for the next commit, and for this.
    Later(Command, Wanted),
}

impl Writer {
    /// Takes pending changes into the commit, as many as fit.
    pub(super) fn plan_commands(&mut self, batch: &mut Batch) {
        let shared = std::sync::Arc::clone(&self.shared);
        let mut index = shared.index.lock();
        while batch.len() < COMMIT_BYTES
            && let Some(command) = self.pending.pop_front()
        {
            if let Fit::Later(command, wanted) = self.plan(command, &mut index, batch) {
                if self.is_hopeless(wanted, &index) {
                    command.fail(Failure::DiskFull);
                } else {
                    self.pending.push_front(command);
                    self.want(wanted);
                    return;
                }
            }
        }
    }

    fn plan(&mut self, command: Command, index: &mut Index, batch: &mut Batch) -> Fit {
        match command {
            Command::Append { .. } => self.plan_append(command, index, batch),
            Command::Flush { reply } => {
                batch.answers.push(Answer::Done(reply));
                Fit::Planned
            }
            Command::Expire { now_ms, reply } => {
                self.expiries.push_back((now_ms, reply));
                Fit::Planned
            }
            control if !batch.has_room(REMOVED_FRAME_LEN, 1, self.control_limit(index)) => {
                Fit::Later(control, Wanted::ControlFile)
            }
            Command::Register {
                queue,
                device,
                now_ms,
                reply,
            } => {
                match self.register(queue, device, now_ms, index, batch) {
                    Ok(cursor) => batch.answers.push(Answer::Register(reply, cursor)),
                    Err(error) => drop(reply.send(Err(error))),
                }
                Fit::Planned
            }
            Command::Acknowledge {
                queue,
                device,
                up_to,
                now_ms,
                reply,
            } => {
                match acknowledge(queue, device, up_to, now_ms, index, batch) {
                    Ok(()) => batch.answers.push(Answer::Done(reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
                Fit::Planned
            }
            Command::Remove { queue, reply } => {
                if index.remove_queue(queue, batch.segment()) {
                    batch.removed.push(queue);
                }
                self.shared.notices.end(&queue);
                batch.answers.push(Answer::Done(reply));
                Fit::Planned
            }
        }
    }

    fn plan_append(&mut self, command: Command, index: &mut Index, batch: &mut Batch) -> Fit {
        let Command::Append {
            queue: id,
            hash,
            packet,
            now_ms,
            reply,
        } = command
        else {
            return Fit::Planned;
        };
        let config = &self.shared.config;
        let limit_ms = now_ms.checked_sub(config.ttl_ms);
        let may_mark = batch.has_room(0, 2, self.control_limit(index));
        if let Some((queue, hasher, segments)) = index.parts(&id) {
            if let Some((cursor, stored_at_ms)) = queue.find(&hash, hasher) {
                if limit_ms.is_none_or(|limit_ms| stored_at_ms > limit_ms) {
                    let stored = Stored {
                        cursor: Cursor::new(cursor),
                        stored_at_ms,
                        duplicate: true,
                    };
                    batch.answers.push(Answer::Append(reply, stored));
                    return Fit::Planned;
                }
                queue.forget_hash_of(cursor, hasher);
            }
            if may_mark && queue.expire(limit_ms, APPEND_CHORES, segments) > 0 {
                batch.mark(id, queue);
            }
            let keep = config.queue_remembered_packets;
            queue.forget(limit_ms, keep, APPEND_CHORES, hasher, segments);
            let (bytes, count) = (queue.bytes(), queue.count());
            if bytes + packet.len() as u64 > config.queue_quota_bytes
                || count >= config.queue_quota_packets
            {
                let (bytes_quota, count_quota) =
                    (config.queue_quota_bytes, config.queue_quota_packets);
                drop(reply.send(Err(AppendError::QueueFull {
                    bytes,
                    count,
                    bytes_quota,
                    count_quota,
                })));
                return Fit::Planned;
            }
        }
        let wanted = if self.spares.len() < SPARES_RESERVED {
            Some(Wanted::Spare)
        } else {
            let fits = batch.has_room(packet_frame_len(packet.len()), 1, self.packet_limit());
            (!fits).then_some(Wanted::PacketFile)
        };
        if let Some(wanted) = wanted {
            return Fit::Later(
                Command::Append {
                    queue: id,
                    hash,
                    packet,
                    now_ms,
                    reply,
                },
                wanted,
            );
        }
        let Some(is_new) = index.open_queue(id, config.max_queues) else {
            drop(reply.send(Err(AppendError::TooManyQueues {
                limit: config.max_queues,
            })));
            return Fit::Planned;
        };
        if let Some((queue, hasher, segments)) = index.parts(&id) {
            if is_new {
                batch.mark(id, queue);
            }
            let cursor = queue.take_cursor();
            let packet_len = packet.len() as u32;
            let place = batch.packet(
                PacketMeta {
                    queue: id,
                    cursor,
                    stored_at_ms: now_ms,
                    hash,
                },
                packet,
            );
            let new = NewEntry {
                cursor,
                hash,
                stored_at_ms: now_ms,
                packet_len,
                place,
            };
            queue.push(&new, hasher, segments);
            batch.touched.push(id);
            let stored = Stored {
                cursor: Cursor::new(cursor),
                stored_at_ms: now_ms,
                duplicate: false,
            };
            batch.answers.push(Answer::Append(reply, stored));
        }
        Fit::Planned
    }

    fn register(
        &self,
        id: QueueId,
        device: DeviceId,
        now_ms: u64,
        index: &mut Index,
        batch: &mut Batch,
    ) -> Result<Cursor, ControlError> {
        let limit = self.shared.config.max_queues;
        let is_new = index
            .open_queue(id, limit)
            .ok_or(ControlError::TooManyQueues { limit })?;
        let Some((queue, _, segments)) = index.parts(&id) else {
            return Ok(Cursor::START);
        };
        if is_new {
            batch.mark(id, queue);
        }
        if let Some(known) = queue.devices.iter_mut().find(|known| known.id == device) {
            let acknowledged = known.acknowledged;
            if known.seen_ms.saturating_add(SEEN_PRECISION_MS) <= now_ms {
                known.seen_ms = now_ms;
                batch.mark(id, queue);
            }
            return Ok(Cursor::new(acknowledged));
        }
        if drop_idle(queue, now_ms) {
            batch.mark(id, queue);
            delete_acknowledged(queue, segments);
        }
        if queue.devices.len() >= DEVICES_MAX {
            return Err(ControlError::TooManyDevices { limit: DEVICES_MAX });
        }
        let acknowledged = queue.live_from().saturating_sub(1);
        queue.devices.push(Device {
            id: device,
            acknowledged,
            seen_ms: now_ms,
        });
        batch.mark(id, queue);
        Ok(Cursor::new(acknowledged))
    }

    /// Goes on with the search for old packets.
    pub(super) fn plan_expiry(&mut self, batch: &mut Batch) {
        let shared = std::sync::Arc::clone(&self.shared);
        let mut index = shared.index.lock();
        if self.expiry.is_none()
            && let Some((now_ms, reply)) = self.expiries.pop_front()
        {
            let queues = index.queues.keys().copied().collect();
            self.expiry = Some(Expiry {
                now_ms,
                queues,
                deleted: 0,
                reply: Some(reply),
            });
        }
        let Some(mut expiry) = self.expiry.take() else {
            return;
        };
        for _ in 0..EXPIRY_QUEUES {
            if !batch.has_room(REMOVED_FRAME_LEN, 1, self.control_limit(&index)) {
                if self.is_hopeless(Wanted::ControlFile, &index) {
                    expiry.queues.clear();
                    if let Some(reply) = expiry.reply.take() {
                        drop(reply.send(Err(ControlError::DiskFull)));
                    }
                }
                self.want(Wanted::ControlFile);
                break;
            }
            let Some(id) = expiry.queues.pop() else { break };
            if expire_queue(id, &mut expiry, &mut index, &shared.config, batch) {
                expiry.queues.push(id);
            }
        }
        if !expiry.queues.is_empty() {
            self.expiry = Some(expiry);
        } else if let Some(reply) = expiry.reply {
            batch.answers.push(Answer::Expired(reply, expiry.deleted));
        }
    }
}

/// Deletes and forgets what is old in one queue; tells whether there is more of it.
fn expire_queue(
    id: QueueId,
    expiry: &mut Expiry,
    index: &mut Index,
    config: &super::config::LogConfig,
    batch: &mut Batch,
) -> bool {
    let active = batch.segment();
    let Some((queue, hasher, segments)) = index.parts(&id) else {
        return false;
    };
    let now_ms = expiry.now_ms;
    if drop_idle(queue, now_ms) {
        batch.mark(id, queue);
        expiry.deleted += delete_acknowledged(queue, segments);
    }
    let limit_ms = now_ms.checked_sub(config.ttl_ms);
    let before = queue.live_from();
    let deleted = queue.expire(limit_ms, EXPIRY_PACKETS, segments);
    if queue.live_from() != before {
        batch.mark(id, queue);
    }
    expiry.deleted += deleted;
    let forgotten = queue.forget(
        limit_ms,
        config.queue_remembered_packets,
        EXPIRY_PACKETS,
        hasher,
        segments,
    );
    let more = deleted == EXPIRY_PACKETS as u64 || forgotten == EXPIRY_PACKETS;
    if queue.entries_len() == 0 && queue.devices.is_empty() && index.remove_queue(id, active) {
        batch.removed.push(id);
    }
    more
}

fn acknowledge(
    id: QueueId,
    device: DeviceId,
    up_to: Cursor,
    now_ms: u64,
    index: &mut Index,
    batch: &mut Batch,
) -> Result<(), ControlError> {
    let (queue, _, segments) = index.parts(&id).ok_or(ControlError::UnknownDevice)?;
    let last = queue.last_visible();
    let known = queue
        .devices
        .iter_mut()
        .find(|known| known.id == device)
        .ok_or(ControlError::UnknownDevice)?;
    if up_to.value() > last {
        return Err(ControlError::PastEnd {
            up_to,
            last: Cursor::new(last),
        });
    }
    let stale = known.seen_ms.saturating_add(SEEN_PRECISION_MS) <= now_ms;
    if up_to.value() <= known.acknowledged && !stale {
        return Ok(());
    }
    known.acknowledged = known.acknowledged.max(up_to.value());
    known.seen_ms = known.seen_ms.max(now_ms);
    delete_acknowledged(queue, segments);
    batch.mark(id, queue);
    Ok(())
}

/// Drops devices that were not seen for long; tells whether there were any.
fn drop_idle(queue: &mut Queue, now_ms: u64) -> bool {
    let before = queue.devices.len();
    queue
        .devices
        .retain(|device| device.seen_ms.saturating_add(DEVICE_IDLE_MS) > now_ms);
    queue.devices.len() < before
}

/// Deletes what every device has; returns how many packets went.
fn delete_acknowledged(queue: &mut Queue, segments: &mut super::segments::Segments) -> u64 {
    let everywhere = queue.devices.iter().map(|device| device.acknowledged).min();
    everywhere.map_or(0, |cursor| queue.delete_below(cursor + 1, segments))
}
