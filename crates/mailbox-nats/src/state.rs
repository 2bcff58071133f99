//! What a queue is, apart from its packets, as one record that the last writer has set.

use mailbox::{DEVICE_IDLE_MS, DEVICES_MAX, DeviceId};

/// Length of one device in a record: ID, mark, time of last use.
const DEVICE_LEN: usize = DeviceId::LEN + 8 + 8;

/// Length of a record without devices: flags, origin, live from, time.
const HEAD_LEN: usize = 1 + 3 * 8;

const REMOVED: u8 = 1;

/// One device of a queue's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// Everything up to here is acknowledged.
    pub(crate) acknowledged: u64,
    pub(crate) seen_ms: u64,
}

/// A queue's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Whether this says that the queue was removed: what comes before it in the stream is void.
    pub(crate) removed: bool,
    /// Lower cursors are of a removed queue.
    pub(crate) origin: u64,
    /// Packets below are deleted.
    pub(crate) live_from: u64,
    /// When it was written, in milliseconds since 1970.
    pub(crate) written_ms: u64,
    pub(crate) devices: Vec<Device>,
}

impl QueueState {
    /// Drops devices that were not seen for long; tells whether there were any.
    pub(crate) fn drop_idle(&mut self, now_ms: u64) -> bool {
        let before = self.devices.len();
        self.devices
            .retain(|device| device.seen_ms.saturating_add(DEVICE_IDLE_MS) > now_ms);
        self.devices.len() < before
    }

    /// Deletes what every device has.
    pub(crate) fn delete_acknowledged(&mut self) {
        if let Some(everywhere) = self.devices.iter().map(|device| device.acknowledged).min() {
            self.live_from = self.live_from.max(everywhere.saturating_add(1));
        }
    }

    /// The record in hexadecimal digits: flags, then numbers of eight bytes, big endian.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.devices.len() * DEVICE_LEN);
        bytes.push(if self.removed { REMOVED } else { 0 });
        for number in [self.origin, self.live_from, self.written_ms] {
            bytes.extend(number.to_be_bytes());
        }
        for device in &self.devices {
            bytes.extend(device.id.as_bytes());
            bytes.extend(device.acknowledged.to_be_bytes());
            bytes.extend(device.seen_ms.to_be_bytes());
        }
        hex::encode(bytes)
    }

    /// Reads a record; `None` if it is none.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        let (head, devices) = bytes.split_at_checked(HEAD_LEN)?;
        let (flags, numbers) = head.split_first()?;
        let mut numbers = numbers.chunks_exact(8).map(number);
        let mut next = || numbers.next().flatten();
        let mut state = Self {
            removed: flags & REMOVED != 0,
            origin: next()?,
            live_from: next()?,
            written_ms: next()?,
            devices: Vec::new(),
        };
        if devices.len() % DEVICE_LEN != 0 || devices.len() > DEVICES_MAX * DEVICE_LEN {
            return None;
        }
        for device in devices.chunks_exact(DEVICE_LEN) {
            let (id, marks) = device.split_first_chunk::<{ DeviceId::LEN }>()?;
            let (acknowledged, seen) = marks.split_at_checked(8)?;
            state.devices.push(Device {
                id: DeviceId::new(*id),
                acknowledged: number(acknowledged)?,
                seen_ms: number(seen)?,
            });
        }
        Some(state)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_written_and_read_is_the_same_and_anything_else_is_refused() {
        let device = |byte: u8| Device {
            id: DeviceId::new([byte; 16]),
            acknowledged: u64::MAX - u64::from(byte),
            seen_ms: u64::from(byte),
        };
        let state = QueueState {
            removed: true,
            origin: 1,
            live_from: 2,
            written_ms: 3,
            devices: (0..DEVICES_MAX as u8).map(device).collect(),
        };
        let text = state.encode();
        assert_eq!(QueueState::decode(&text), Some(state));
        assert_eq!(QueueState::decode(&text[..text.len() - 2]), None);
        assert_eq!(
            QueueState::decode(&format!("{text}{}", "00".repeat(DEVICE_LEN))),
            None
        );
        assert_eq!(QueueState::decode("00"), None);
        assert_eq!(QueueState::decode("not hexadecimal"), None);
    }
}
