//! Two ends of a stream, joined by circuits in memory that can be held back, cut and made anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are outside of test functions"
)]

mod cable;
mod lasting;
mod moving;
