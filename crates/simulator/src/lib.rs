//! A whole small CONET on a virtual clock: one sender, one recipient, entries, relays and mailboxes, with
//! real packets, commands, acknowledgements and certificates, over a network that loses, repeats,
//! delays and parts, on machines that crash and clocks that are wrong.
//!
//! A run is a function of its seed. [`run`] plays it and [`Outcome`] says what was promised and what came
//! of it; a failing seed replays exactly.
//!
//! ```
//! let outcome = simulator::run(7, &simulator::Weather::fair());
//! assert_eq!(outcome.violations(), Vec::<String>::new());
//! ```

mod client;
mod clock;
mod node;
mod world;

pub use world::{Outcome, Weather, run};
