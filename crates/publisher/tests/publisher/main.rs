//! A publisher between callers that write bytes by hand and servers that do.

mod bodies;
mod bounds;
mod identity;
mod scene;
mod streams;
