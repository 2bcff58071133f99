//! The keeping half of the client on a network in memory: nothing is lost, nothing comes twice.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails here says where"
)]

mod devices;
mod files;
mod inbox;
mod order;
mod outbox;
mod people;
mod post;
mod receipts;
mod standing;
