//! The protocol of CONET as state machines: what a node decides, what a session and a link
//! encrypt, which commands exist and how they are answered.
//!
//! This crate is sans-IO. It touches no socket, file, clock or global source of randomness: bytes,
//! times (Unix milliseconds) and random number generators come in as arguments, effects go out as
//! values. `docs/wire-format.md` is the normative page of every byte made here.
//!
//! The main types, in the order a packet meets them:
//!
//! * [`session::ClientHandshake`], [`session::NodeSession`]: what a client and its entry share;
//! * [`frame::Header`]: the 64 bytes before every padded region;
//! * [`forward::decide`]: where a packet goes, the heart of a node;
//! * [`command::Command`], [`answer::Answer`]: what a layer asks and what comes back;
//! * [`freshness::Freshness`]: no command is obeyed twice, across restarts;
//! * [`link::Handshake`], [`link::Sealer`], [`link::Opener`]: node to node;
//! * [`stream::Stream`]: a two-way pipe over circuits that nodes splice blind;
//! * [`rendezvous`]: how callers and publishers of a service find each other;
//! * [`stamp::Stamp`]: the price of what nobody asked for.
//!
//! ```
//! use protocol::frame::{Header, Kind};
//! let header = Header::packet(packet::SizeClass::K4, 2560);
//! assert_eq!(Header::decode(&header.encode()).unwrap().kind, Kind::Packet);
//! ```

pub mod answer;
mod cbor;
pub mod command;
pub mod duplicates;
pub mod forward;
pub mod frame;
pub mod freshness;
pub mod link;
pub mod order;
pub mod rendezvous;
mod secrets;
pub mod session;
pub mod stamp;
pub mod stream;
pub mod target;
pub mod transfer;

/// A node's wallet address: its identity on the ledger, in commands and on links.
pub type NodeId = wallet::WalletAddress;

/// The version spoken in handshakes, commands and envelopes.
pub const PROTOCOL_VERSION: u32 = 1;
