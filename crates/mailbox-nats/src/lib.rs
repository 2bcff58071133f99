//! Durable packet queues on NATS JetStream, for an operator who outgrows one machine.
//!
//! [`NatsStore`] and [`NatsDirectory`] keep the contract of [`mailbox::PacketStore`] and
//! [`mailbox::Directory`] on a JetStream server or cluster instead of local files. Several node
//! processes that hold one mailbox key open the same store and each serves every wallet.
//!
//! All that happens to queues stands in one stream, so that every process sees it in one order:
//!
//! | subject | message |
//! | --- | --- |
//! | `conet.NAME.packet.QUEUE.HASH` | a packet, or what is remembered of one that is gone |
//! | `conet.NAME.state.QUEUE` | the queue's devices and marks, the last one counts |
//!
//! The stream keeps one message per subject, and each is written on condition of the one before
//! (compare and set). A packet's cursor is its sequence in the stream. The same packet sent again
//! meets its own subject taken, for as long as the time to live: NATS's own window of message IDs
//! is not used. Each process follows the stream's headers into a view in memory, from which it
//! answers what is kept, for whom and how much; packets themselves are fetched when they are read.
//! See `docs/nats-store.md`.
//!
//! It never logs whose queue it works on, and never reads a clock to decide what is kept.

mod claims;
mod config;
mod control;
mod directory;
mod follow;
mod message;
mod state;
mod store;
mod sweep;
mod view;

pub use claims::NatsClaims;
pub use config::{NatsConfig, OpenError};
pub use directory::{AccountChange, NatsDirectory};
pub use store::NatsStore;

/// The tracing target of everything here.
const TARGET: &str = "mailbox::nats";
