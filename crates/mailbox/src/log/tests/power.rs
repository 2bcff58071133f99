//! Random histories with restarts, kills and power failures at any operation of the disk.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::Model;
use super::simulated_disk::SimulatedDisk;
use super::{open, runtime, tiny_files};

/// How many histories the gate runs; `MAILBOX_SEEDS` asks for more.
const SEEDS: u64 = 300;

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("MAILBOX_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => {
            0..std::env::var("MAILBOX_SEEDS")
                .ok()
                .and_then(|count| count.parse().ok())
                .unwrap_or(SEEDS)
        }
    }
}

/// Names the seed of a history that fails, so that `MAILBOX_SEED` replays it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("MAILBOX_SEED={} replays this history", self.0);
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Close,
    Kill,
    PowerFailure,
}

async fn history(seed: u64, ends: &[End]) {
    let _seed = Seed(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let config = tiny_files();
    let mut model = Model::new(&config);
    let mut disk = SimulatedDisk::new();
    for _ in 0..6 {
        let store = open(&disk, &config);
        model.check_after_opening(&store).await;
        let end = ends[rng.gen_range(0..ends.len())];
        if !matches!(end, End::Close) {
            disk.switch_off_after(rng.gen_range(0..400));
        }
        for _ in 0..rng.gen_range(0..250) {
            if !model.step(&store, &mut rng).await {
                break;
            }
        }
        if !store.figures().failed {
            store.check_books();
        }
        drop(store);
        disk = match end {
            End::Close => disk,
            End::Kill => disk.after_kill(),
            End::PowerFailure => disk.after_power_failure(&mut rng),
        };
    }
    let store = open(&disk, &config);
    model.check_after_opening(&store).await;
    assert!(
        store.recovery().damage.is_empty(),
        "a crash is no damage: {:?}",
        store.recovery()
    );
    let _ = Arc::strong_count(&store);
}

#[test]
fn store_with_restarts_keeps_what_the_model_keeps() {
    runtime().block_on(async {
        for seed in seeds() {
            history(seed, &[End::Close]).await;
        }
    });
}

#[test]
fn store_killed_at_any_operation_keeps_all_that_was_acknowledged() {
    runtime().block_on(async {
        for seed in seeds() {
            history(seed, &[End::Kill, End::Close]).await;
        }
    });
}

#[test]
fn store_without_power_at_any_operation_keeps_all_that_was_acknowledged() {
    runtime().block_on(async {
        for seed in seeds() {
            history(seed, &[End::PowerFailure, End::PowerFailure, End::Kill]).await;
        }
    });
}
