//! Receiving: a durable inbox that holds each message once, and hands it over in order.
//!
//! ```text
//! mailbox ─→ collector ─→ intake: open, check, write, commit ─→ presenter: order ─→ listener ─→ user
//!    ↑                                   │
//!    └──────── acknowledgement ──────────┘
//! ```
//!
//! **Invariants**: a mailbox gets its acknowledgement after the commit. A message is marked as shown after the
//! user asked for the next event, so that whoever is killed while showing one sees it again and nobody misses one.

mod collector;
mod event;
mod intake;
mod lanes;
mod listener;
mod presenter;
mod supervisor;

pub use crate::files::AssemblyError;
pub use event::{Body, Event, Message, ReceivedFile, Sender, Verification, Warning};
pub(crate) use event::{in_full, message_of};
pub(crate) use listener::listen;
pub use listener::{ListenError, ListenOptions, Listener};
