//! Many seeds under each weather. `CONET_SEED=n` plays one, `CONET_SEEDS=n` that many.

use simulator::{Outcome, Weather, run};

const SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn play(name: &str, weather: &Weather) -> Vec<Outcome> {
    let seeds = match number("CONET_SEED") {
        Some(one) => one..one + 1,
        None => 0..number("CONET_SEEDS").unwrap_or(SEEDS),
    };
    seeds
        .map(|seed| {
            let outcome = run(seed, weather);
            assert!(
                outcome.violations().is_empty(),
                "{name}: CONET_SEED={seed} replays this: {:#?}\n{outcome:?}",
                outcome.violations()
            );
            outcome
        })
        .collect()
}

#[test]
fn fair_weather_delivers_in_order_without_gaps() {
    for outcome in play("fair", &Weather::fair()) {
        assert_eq!((outcome.shown, outcome.gaps), ((0..6).collect(), 0));
    }
}

#[test]
fn storm_loses_nothing_that_was_acknowledged_and_shows_it_once() {
    play("storm", &Weather::storm());
}

#[test]
fn lossy_network_alone_loses_nothing() {
    play(
        "lossy",
        &Weather {
            loss: 0.3,
            repeat: 0.2,
            bad_ms: 60_000,
            ..Weather::fair()
        },
    );
}

#[test]
fn clocks_off_by_a_day_cost_no_message() {
    play(
        "clocks",
        &Weather {
            clock_error_ms: 86_400_000,
            ..Weather::fair()
        },
    );
}

#[test]
fn crashing_nodes_obey_no_command_twice() {
    play(
        "crashes",
        &Weather {
            crashes: 20,
            repeat: 0.5,
            bad_ms: 20_000,
            ..Weather::fair()
        },
    );
}

#[test]
fn same_seed_plays_the_same_run() {
    assert_eq!(run(42, &Weather::storm()), run(42, &Weather::storm()));
}
