//! What many do to nodes at once, and whether others are still served: 10,000 clients that only listen, 1,000 that
//! come back together, a million packets, readers that do not read, peers that stall, floods.
//!
//! **What must hold**: a node's memory stays within bounds that are written down, whoever does too much is told so,
//! nothing acknowledged is lost, and two honest wallets go on writing through the same nodes meanwhile. Each scenario
//! prints one line; how long something took is printed and never asserted.
//!
//! ```text
//! CONET_LOAD  "full" plays the numbers that are worth knowing, for minutes; else a small form of each
//! ```
//!
//! A scenario's name as an argument plays that one alone.

#![expect(
    clippy::indexing_slicing,
    reason = "numbers come from ranges over what they index; a test may fail"
)]

mod accounts;
mod caller;
mod floods;
mod idle;
#[path = "../chaos/network.rs"]
#[expect(dead_code, reason = "the storm does more to its network")]
mod network;
mod pair;
mod plenty;
#[path = "../chaos/proxy.rs"]
mod proxy;
mod returning;
mod stalling;
mod unread;
mod world;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use world::World;

/// Sockets that this program may need: one for each client, and some.
const OPEN_FILES: u64 = 40_000;

const SCENARIOS: [&str; 6] = [
    "idle_clients_cost_little_and_are_all_delivered_to",
    "clients_cut_at_once_come_back_at_once_and_miss_nothing",
    "mailbox_with_very_many_packets_starts_and_delivers_from_its_middle",
    "sender_faster_than_its_recipient_is_told_and_fills_no_memory",
    "peers_that_stall_lose_their_places_and_hold_up_nobody",
    "floods_cost_whoever_floods_and_nobody_else",
];

/// Small numbers for the gate, or those that are worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Gate,
    Full,
}

impl Scale {
    pub(crate) fn of(self, gate: usize, full: usize) -> usize {
        match self {
            Self::Gate => gate,
            Self::Full => full,
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They measure memory and speed of the same nodes.
    arguments.test_threads = Some(1);
    let scale = match std::env::var("CONET_LOAD").as_deref() {
        Ok("full") => Scale::Full,
        _ => Scale::Gate,
    };
    let stage = Arc::new(Mutex::new(Stage::default()));
    let trials = SCENARIOS.map(|name| {
        let stage = Arc::clone(&stage);
        Trial::test(name, move || {
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage
                .play(name, scale)
                .map_err(|error| format!("{error:#}").into())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    drop(stage);
    conclusion.exit_code()
}

/// One network for all scenarios, made for the first of them.
#[derive(Default)]
struct Stage(Option<(Runtime, World)>);

impl Stage {
    fn play(&mut self, name: &str, scale: Scale) -> anyhow::Result<()> {
        if self.0.is_none() {
            allow_files()?;
            let runtime = Runtime::new()?;
            let world = runtime.block_on(World::new(scale))?;
            self.0 = Some((runtime, world));
        }
        let Some((runtime, world)) = &mut self.0 else {
            return Ok(());
        };
        runtime.block_on(async {
            let line = match SCENARIOS.iter().position(|it| *it == name) {
                Some(0) => idle::play(world).await?,
                Some(1) => returning::play(world).await?,
                Some(2) => plenty::play(world).await?,
                Some(3) => unread::play(world).await?,
                Some(4) => stalling::play(world).await?,
                _ => floods::play(world).await?,
            };
            println!("load: {line}; while nothing else happens: {}", world.quiet);
            world.look()
        })
    }
}

/// Lets this process, and the nodes that it starts, have many sockets.
fn allow_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES.max(most)).is_err() {
        // Only the superuser may raise what is allowed at most.
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    }
    Ok(())
}
