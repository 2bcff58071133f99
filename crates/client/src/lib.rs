//! The client of CONET as a library: send, listen and reply by wallet address.
//!
//! Two halves. What carries messages: [`network`], with sessions to a few entry nodes, a private path
//! for each exchange, and answers that only the right node can have given. What keeps them: wallets,
//! outbox, inbox and history in a home on disk. They meet at [`carrier`].

pub mod account_requests;
pub mod carrier;
mod carry;
mod clock;
pub mod collect;
mod directory;
pub mod look_up;
pub mod network;
mod path;
pub mod submit;
#[cfg(test)]
mod test_network;
mod transport;

pub use carry::{CarryError, CommandError, StampingError};
pub use directory::EndpointError;
pub use network::{Network, NetworkError, NotesError};
pub use path::PathError;
pub use transport::{ExchangeError, StreamError};
