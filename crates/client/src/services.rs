//! Services: what is reachable at a wallet, by its names and ports (`docs/wire-format.md`, 12).
//!
//! Whoever calls a service ([`Network::open_service`]) and whoever serves it ([`Publisher`]) each come to the wallet's
//! mailbox over a path of their own, and the mailbox joins the two blind. Streams to services are resumed as others are.
//!
//! Who owns what: a caller owns one path at a time to one of the mailboxes, and goes on to the next where nobody is; a
//! publisher owns a task for each mailbox that brings offers, and a few workers that open them, one bounded queue between.

mod call;
mod name;
mod offers;
mod publish;
mod serving;
mod slot;
mod turns;

pub use call::{ServiceCall, ServiceError};
pub use name::ServiceNameError;
pub use publish::{Incoming, MAX_SERVICES, PublishError, Publisher, Standing};
pub use slot::SlotError;

pub(crate) use publish::publish;

#[cfg(doc)]
use crate::network::Network;
