//! What the crate promises, tested through its public interface; rPGP's own readers and writers
//! stand in for other implementations, and stock `gpg` where it is installed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the tests build themselves is as they expect it"
)]

mod envelopes;
mod foreign;
mod forgeries;
mod gpg;
mod hostile;
mod layers;
mod peeking;
mod people;
mod sealing;
mod structure;
mod vectors;
