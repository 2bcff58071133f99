//! Limits, with time as an argument.

use core::time::Duration;
use std::time::Instant;

use super::{Busy, Gate, Limits, Pending, Quota};

const WIDE: Quota = Quota {
    connections: 1000,
    pending: 1000,
    per_second: 1000,
    burst: 1000,
};

fn gate(client: Quota, total: Quota, clients: usize) -> (Gate, Instant) {
    let now = Instant::now();
    let limits = Limits {
        client,
        total,
        clients,
    };
    (Gate::new(limits, now), now)
}

fn admit_many(gate: &Gate, client: u64, count: usize, now: Instant) -> Vec<Pending> {
    (0..count)
        .map(|_| gate.admit(client, now).unwrap())
        .collect()
}

#[test]
fn client_at_its_connections_is_refused_until_one_is_dropped() {
    let quota = Quota {
        connections: 3,
        ..WIDE
    };
    let (gate, now) = gate(quota, WIDE, 10);
    let mut open: Vec<_> = admit_many(&gate, 1, 3, now)
        .into_iter()
        .map(Pending::open)
        .collect();
    assert_eq!(gate.admit(1, now).unwrap_err(), Busy::ClientConnections);
    assert!(
        gate.admit(2, now).is_ok(),
        "another client is not concerned"
    );
    open.pop();
    assert!(gate.admit(1, now).is_ok());
}

#[test]
fn client_with_connections_in_the_making_waits_for_them() {
    let quota = Quota { pending: 2, ..WIDE };
    let (gate, now) = gate(quota, WIDE, 10);
    let mut pending = admit_many(&gate, 1, 2, now);
    assert_eq!(gate.admit(1, now).unwrap_err(), Busy::ClientPending);
    let _open = pending.pop().unwrap().open();
    pending.extend(gate.admit(1, now));
    assert_eq!(gate.admit(1, now).unwrap_err(), Busy::ClientPending);
    drop(pending);
    assert_eq!(
        admit_many(&gate, 1, 2, now).len(),
        2,
        "what failed counts no more"
    );
}

#[test]
fn all_together_are_limited_too() {
    for (total, error) in [
        (
            Quota {
                connections: 4,
                ..WIDE
            },
            Busy::TotalConnections,
        ),
        (Quota { pending: 4, ..WIDE }, Busy::TotalPending),
        (Quota { burst: 4, ..WIDE }, Busy::TotalRate),
    ] {
        let (gate, now) = gate(WIDE, total, 10);
        let _held: Vec<_> = (0..4)
            .map(|client| gate.admit(client, now).unwrap())
            .collect();
        assert_eq!(gate.admit(9, now).unwrap_err(), error);
        assert!(!error.is_of_client());
    }
}

#[test]
fn rate_allows_a_burst_and_then_one_each_interval() {
    let quota = Quota {
        per_second: 10,
        burst: 5,
        ..WIDE
    };
    let (gate, start) = gate(quota, WIDE, 10);
    for _ in 0..5 {
        gate.charge(1, start).unwrap();
    }
    assert_eq!(gate.charge(1, start), Err(Busy::ClientRate));
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(gate.charge(1, at(99)), Err(Busy::ClientRate));
    assert_eq!(gate.charge(1, at(100)), Ok(()));
    assert_eq!(gate.charge(1, at(100)), Err(Busy::ClientRate));
    assert_eq!(gate.charge(1, at(200)), Ok(()));
    for _ in 0..5 {
        gate.charge(1, at(5000)).unwrap();
    }
    assert_eq!(
        gate.charge(1, at(5000)),
        Err(Busy::ClientRate),
        "rest is worth one burst at most"
    );
}

#[test]
fn refusals_cost_nothing_of_the_rate_of_all() {
    let client = Quota { burst: 1, ..WIDE };
    let total = Quota { burst: 3, ..WIDE };
    let (gate, now) = gate(client, total, 10);
    gate.charge(1, now).unwrap();
    for _ in 0..100 {
        assert_eq!(gate.charge(1, now), Err(Busy::ClientRate));
    }
    assert_eq!(gate.charge(2, now), Ok(()));
    assert_eq!(gate.charge(3, now), Ok(()));
    assert_eq!(gate.charge(4, now), Err(Busy::TotalRate));
}

#[test]
fn rate_of_zero_lets_nobody_in() {
    let (gate, now) = gate(
        Quota {
            per_second: 0,
            ..WIDE
        },
        WIDE,
        10,
    );
    assert_eq!(gate.admit(1, now).unwrap_err(), Busy::ClientRate);
}

#[test]
fn clients_beyond_the_table_are_refused_until_one_can_be_forgotten() {
    let quota = Quota {
        per_second: 1,
        burst: 2,
        ..WIDE
    };
    let (gate, start) = gate(quota, WIDE, 3);
    let held = gate.admit(1, start).unwrap();
    gate.charge(2, start).unwrap();
    gate.charge(3, start).unwrap();
    assert_eq!(gate.charge(4, start), Err(Busy::Clients));
    assert_eq!(
        gate.charge(2, start),
        Ok(()),
        "who is known is not concerned"
    );
    assert_eq!(gate.remembered(), 3);

    // 3 has rested long enough, 2 asked twice, 1 has a connection.
    let later = start + Duration::from_millis(1500);
    assert_eq!(gate.charge(4, later), Ok(()));
    assert_eq!(gate.remembered(), 3);
    assert_eq!(gate.charge(5, later), Err(Busy::Clients));
    drop(held);
    assert_eq!(
        gate.charge(5, later),
        Err(Busy::Clients),
        "the table was searched a moment ago"
    );
    let latest = start + Duration::from_secs(60);
    assert_eq!(gate.charge(5, latest), Ok(()));
    assert_eq!(gate.remembered(), 1);
}

#[test]
fn any_number_of_clients_takes_bounded_memory() {
    let (gate, now) = gate(
        WIDE,
        Quota {
            burst: 1_000_000,
            ..WIDE
        },
        100,
    );
    for client in 0..100_000 {
        let _ = gate.admit(client, now);
    }
    assert_eq!(gate.remembered(), 100);
}
