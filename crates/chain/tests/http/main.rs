//! The chain as its users meet it: through JSON-RPC over HTTP, raw and by alloy.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access;
mod contracts;
mod durability;
mod fees;
mod filters;
mod fixture;
mod intervals;
mod reorgs;
mod requests;
mod transactions;
