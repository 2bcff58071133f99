//! Who learns what: a network whose nodes write down all that they see, and the tables of
//! `docs/security.md` held against it.
//!
//! Real nodes, the real SDK, a real chain. An [`node::Observer`] in each node hears every address, frame,
//! command, answer and packet in clear, as its operator could; beside it lie the bytes of the wire (each
//! node stands behind a recording proxy that keeps the caller's address), the node's files, its log at the
//! most verbose level, and its pages of status and metrics. What the tables promise not to be known is
//! searched for in all of it, and what they admit is looked for as well, so that a recorder that sees nothing
//! fails.
//!
//! The tables are read from the page itself: a promise that is changed there is tested as changed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are outside of test functions"
)]

mod devnet;
mod exchange;
mod front;
mod page;
mod people;
mod record;
mod services;
mod streams;
mod tables;
