//! The listeners over real loopback sockets, with clients that behave and clients that don't.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are outside of test functions"
)]

mod curl;
mod http;
mod own;
mod scene;
mod services;
mod signing;
mod socks;
mod splice;
mod striped;
mod tunnel;
mod udp;
