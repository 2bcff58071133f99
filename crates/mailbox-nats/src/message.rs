//! Subjects and headers of the stream's messages: `docs/nats-store.md`.

use async_nats::HeaderMap;
use mailbox::{PacketHash, QueueId};

use crate::config::GRACE_S;
use crate::state::QueueState;

pub(crate) const PACKET_KIND: &str = "packet";
pub(crate) const STATE_KIND: &str = "state";
pub(crate) const MARK_KIND: &str = "mark";

/// When it was stored first, in milliseconds since 1970.
const STORED_AT: &str = "Conet-Time";
/// The cursor of a packet that is gone; a packet that is kept has none.
const CURSOR: &str = "Conet-Cursor";
/// A queue's state.
const STATE: &str = "Conet-State";
/// Length of the payload, which the server writes where it leaves the payload out.
const SIZE: &str = "Nats-Msg-Size";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";

/// What a message of the stream says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet is kept; its cursor is the message's sequence.
    Packet {
        queue: QueueId,
        hash: PacketHash,
        stored_at_ms: u64,
        len: u32,
    },
    /// A packet is gone and remembered.
    Gone { queue: QueueId, cursor: u64 },
    /// A process was opened; it knows by this how far the stream goes.
    Mark,
    /// A queue is so now.
    State { queue: QueueId, state: QueueState },
}

pub(crate) fn packet_subject(prefix: &str, queue: &QueueId, hash: &PacketHash) -> String {
    format!(
        "{prefix}.{PACKET_KIND}.{}.{}",
        hex::encode(queue.as_bytes()),
        hex::encode(hash)
    )
}

/// All packets of a queue.
pub(crate) fn packets_filter(prefix: &str, queue: &QueueId) -> String {
    format!("{prefix}.{PACKET_KIND}.{}.*", hex::encode(queue.as_bytes()))
}

pub(crate) fn state_subject(prefix: &str, queue: &QueueId) -> String {
    format!("{prefix}.{STATE_KIND}.{}", hex::encode(queue.as_bytes()))
}

pub(crate) fn mark_subject(prefix: &str) -> String {
    format!("{prefix}.{MARK_KIND}")
}

/// Headers of a packet that is stored if the subject's last message is `expected` (0: none).
pub(crate) fn packet_headers(stored_at_ms: u64, expected: u64, ttl_ms: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(STORED_AT, stored_at_ms.to_string());
    headers.insert(EXPECTED, expected.to_string());
    headers.insert(TTL, format!("{}s", ttl_ms / 1000 + GRACE_S));
    headers
}

/// Headers of what takes a packet's place once it is gone.
pub(crate) fn gone_headers(stored_at_ms: u64, cursor: u64, ttl_ms: u64) -> HeaderMap {
    let mut headers = packet_headers(stored_at_ms, cursor, ttl_ms);
    headers.insert(CURSOR, cursor.to_string());
    headers
}

/// Headers of a queue's state; without devices it goes by itself some days after the last packet can have gone.
pub(crate) fn state_headers(state: &QueueState, expected: Option<u64>, ttl_ms: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(STATE, state.encode());
    if let Some(expected) = expected {
        headers.insert(EXPECTED, expected.to_string());
    }
    if state.devices.is_empty() {
        headers.insert(TTL, format!("{}s", ttl_ms / 1000 + 48 * GRACE_S));
    }
    headers
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

/// When a packet's message was stored, and at which cursor.
pub(crate) fn stored(headers: &HeaderMap, sequence: u64) -> Option<(u64, u64)> {
    let cursor = number(headers, CURSOR).unwrap_or(sequence);
    Some((cursor, number(headers, STORED_AT)?))
}

/// Reads a message; `None` for one that is none of ours.
pub(crate) fn parse(prefix: &str, subject: &str, headers: Option<&HeaderMap>) -> Option<Event> {
    let mut tokens = subject.strip_prefix(prefix)?.strip_prefix('.')?.split('.');
    let kind = tokens.next()?;
    if kind == MARK_KIND {
        return Some(Event::Mark);
    }
    let queue = tokens.next()?;
    let mut id = [0; QueueId::LEN];
    hex::decode_to_slice(queue, &mut id).ok()?;
    let (queue, headers) = (QueueId::new(id), headers?);
    if kind == STATE_KIND {
        let state = QueueState::decode(headers.get(STATE)?.as_str())?;
        return Some(Event::State { queue, state });
    }
    let mut hash: PacketHash = [0; 32];
    hex::decode_to_slice(tokens.next()?, &mut hash).ok()?;
    if kind != PACKET_KIND {
        return None;
    }
    if let Some(cursor) = number(headers, CURSOR) {
        return Some(Event::Gone { queue, cursor });
    }
    Some(Event::Packet {
        queue,
        hash,
        stored_at_ms: number(headers, STORED_AT)?,
        len: u32::try_from(number(headers, SIZE)?).ok()?,
    })
}
