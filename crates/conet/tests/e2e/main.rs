//! End to end: the real binary, real processes, one devnet, separate homes.
//!
//! The scenarios run one after the other on one devnet, since some of them kill parts of it. Each makes wallets
//! of its own. `CONET_E2E_CHAIN=anvil` puts another chain underneath; nothing else changes.
//! A scenario's name as an argument runs that one alone.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value answers a missing key with null; a test may fail"
)]

mod devnet;
mod person;
mod scenarios;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    arguments.test_threads = Some(1);
    let devnet = match devnet::Devnet::up(&[]) {
        Ok(devnet) => Arc::new(Mutex::new(devnet)),
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

fn trials(devnet: Option<&Arc<Mutex<devnet::Devnet>>>) -> Vec<Trial> {
    scenarios::ALL
        .iter()
        .map(|(name, scenario)| {
            let devnet = devnet.cloned();
            Trial::test(*name, move || {
                let Some(devnet) = devnet else { return Ok(()) };
                let mut devnet = devnet
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                scenario(&mut devnet).map_err(|error| format!("{error:#}").into())
            })
        })
        .collect()
}
