//! conet
fn main() {}
