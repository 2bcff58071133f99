//! A whole network in one process: chain, contracts, nodes and clients, over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are outside of test functions"
)]

mod circuits;
mod clients;
mod hostile;
mod meetings;
#[cfg(feature = "nats")]
#[path = "../../../mailbox-nats/tests/fixture/server.rs"]
mod server;
mod services;
#[cfg(feature = "nats")]
mod shared;
mod stolen;
mod strangers;
mod streams;
mod transit;
mod world;
