//! A publisher between callers that write bytes by hand and servers that do.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are outside of test functions"
)]

mod bodies;
mod bounds;
mod identity;
mod scene;
mod streams;
