//! The bridge as a whole: on a virtual clock with made-up names and hosts, and over loopback with real ones.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod datagrams;
mod eyeballs;
mod forgery;
mod name_server;
mod names;
mod silence;
mod sockets;
mod virtual_world;
