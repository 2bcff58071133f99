//! The client of CONET as a library: send, listen and reply by wallet address.
//!
//! Two halves. What carries messages: [`network`], with sessions to a few entry nodes, a private path
//! for each exchange, and answers that only the right node can have given. What keeps them: wallets,
//! outbox, inbox and history in a home on disk. They meet at [`carrier`].

pub mod account_requests;
pub mod carrier;
mod carry;
mod client;
mod clock;
pub mod collect;
mod directory;
mod files;
pub mod history;
pub mod home;
pub mod look_up;
pub mod network;
mod path;
pub mod receive;
pub mod send;
pub mod services;
mod sqlite;
mod state;
pub mod streams;
pub mod submit;
#[cfg(test)]
mod test_network;
mod transport;
mod upkeep;
mod wall_clock;

pub use carry::{CarryError, CommandError, StampingError};
pub use client::{Client, ClientOptions, MAX_HISTORY_READ, OpenClientError, RouteStatus};
pub use directory::EndpointError;
pub use network::{Network, NetworkError, NotesError};
pub use path::PathError;
pub use state::StateError;
pub use transport::{ExchangeError, StreamError};
pub use upkeep::UpkeepError;
pub use wall_clock::WallClock;
