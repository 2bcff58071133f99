//! End to end: the real binary, real processes, one devnet, separate homes.
//!
//! The scenarios run on one devnet: side by side where they leave it alone, one after the other where they kill parts
//! of it. Each makes wallets of its own. `CONET_E2E_CHAIN=anvil` puts another chain underneath; nothing else changes.
//! A scenario's name as an argument runs that one alone.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value answers a missing key with null; a test may fail"
)]

mod devnet;
mod parcel;
mod person;
mod scenarios;
mod service;
mod web;

use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};

use scenarios::Scenario;

/// Scenarios at once, unless the command line says otherwise: most of them wait most of the time.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let devnet = match devnet::Devnet::up(&[]) {
        Ok(devnet) => Arc::new(RwLock::new(devnet)),
        Err(error) => {
            eprintln!("the devnet did not come up: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&devnet)));
    // The devnet stops with its last handle; a failed scenario may have poisoned the lock.
    drop(devnet);
    conclusion.exit_code()
}

fn trials(devnet: Option<&Arc<RwLock<devnet::Devnet>>>) -> Vec<Trial> {
    scenarios::ALL
        .iter()
        .map(|(name, scenario)| {
            let devnet = devnet.cloned();
            Trial::test(*name, move || {
                let Some(devnet) = devnet else { return Ok(()) };
                let ran = match scenario {
                    Scenario::Beside(run) => {
                        run(&devnet.read().unwrap_or_else(PoisonError::into_inner))
                    }
                    Scenario::Alone(run) => {
                        run(&mut devnet.write().unwrap_or_else(PoisonError::into_inner))
                    }
                };
                ran.map_err(|error| format!("{error:#}").into())
            })
        })
        .collect()
}
