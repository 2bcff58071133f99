//! Twenty people write to each other while whatever can break breaks: processes of nodes, people and the chain
//! are killed, nodes are paused, links are cut, silenced and slow, a disk is full, the chain forgets blocks.
//!
//! **What must hold**: every message that was acknowledged to its sender stands in its recipient's durable inbox
//! exactly once, in the order of its sender's session. A listener may repeat its last line after a kill.
//!
//! ```text
//! CONET_CHAOS_KILLS    processes killed before the weather clears, 200
//! CONET_CHAOS_SEED     what happens when, at random; printed, so that a failure can be looked at again
//! CONET_CHAOS_PAUSE_S  longest pause of a node, 8
//! ```

#![expect(
    clippy::indexing_slicing,
    reason = "numbers come from ranges over what they index; a test may fail"
)]

#[expect(dead_code, reason = "the load test also measures its processes")]
mod network;
mod people;
mod person;
mod proxy;
mod verdict;
mod weather;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Trial};

/// What a run is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) kills: u32,
    pub(crate) longest_pause: Duration,
}

fn main() -> ExitCode {
    // The same program plays the people, so that each of them can be killed.
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, folder] = words.as_slice()
        && word == person::ROLE
    {
        return match person::run(folder.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{folder}: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trial = Trial::test(
        "acknowledged_messages_survive_all_kinds_of_failures",
        || run().map_err(|error| format!("{error:#}").into()),
    );
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn run() -> Result<()> {
    let plan = Plan {
        seed: number("CONET_CHAOS_SEED")?.unwrap_or_else(rand::random),
        kills: u32::try_from(number("CONET_CHAOS_KILLS")?.unwrap_or(200))?,
        longest_pause: Duration::from_secs(number("CONET_CHAOS_PAUSE_S")?.unwrap_or(8)),
    };
    println!("CONET_CHAOS_SEED={}", plan.seed);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(weather::storm(plan))
}

fn number(variable: &str) -> Result<Option<u64>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(
            text.parse().with_context(|| format!("{variable}={text}"))?,
        )),
        Err(_) => Ok(None),
    }
}
