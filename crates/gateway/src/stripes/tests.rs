use super::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

type Bridge = [u8; 2];

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn bridges(count: u16) -> Vec<Bridge> {
    (0..count).map(u16::to_be_bytes).collect()
}

fn stripes(mode: Mode<Bridge>, count: u16, seed: u64) -> Stripes<Bridge> {
    let mut stripes = Stripes::new(mode, &mut rng(seed));
    stripes.set_bridges(bridges(count));
    stripes
}

fn target(host: &str) -> Target {
    format!("{host}:443").parse().unwrap()
}

fn key(name: &str) -> Isolation {
    Isolation::from_user(name.as_bytes())
}

/// The first choice for a connection.
fn first(
    stripes: &Stripes<Bridge>,
    host: &str,
    isolation: &Isolation,
    rng: &mut ChaCha20Rng,
) -> Bridge {
    let mut tries = stripes.start(&target(host), isolation);
    stripes.choose(&mut tries, |_| true, 0, rng).unwrap()
}

fn shares(stripes: &Stripes<Bridge>, rounds: usize) -> BTreeMap<Bridge, usize> {
    let mut rng = rng(7);
    let mut shares = BTreeMap::new();
    for _ in 0..rounds {
        *shares
            .entry(first(stripes, "a.example", &Isolation::Shared, &mut rng))
            .or_default() += 1;
    }
    shares
}

#[test]
fn connections_of_nobody_are_spread_over_all_bridges_alike() {
    let shares = shares(&stripes(Mode::PerConnection, 5, 1), 5000);
    assert_eq!(shares.len(), 5);
    assert!(
        shares.values().all(|share| (800..1200).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn bridge_that_is_slower_gets_less_and_not_nothing() {
    let mut stripes = stripes(Mode::PerConnection, 2, 1);
    for _ in 0..50 {
        stripes.succeeded([0, 0], 50, 0);
        stripes.succeeded([0, 1], 950, 0);
    }
    let shares = shares(&stripes, 1100);
    assert!((60..150).contains(&shares[&[0, 1]]), "{shares:?}");
}

#[test]
fn bridge_that_failed_is_avoided_until_it_is_forgiven() {
    let mut stripes = stripes(Mode::PerConnection, 2, 1);
    assert!(stripes.failed([0, 0], ConnectError::BridgeLost, 0));
    let health = |stripes: &Stripes<Bridge>| stripes.bridges().next().unwrap().1;
    assert!(!health(&stripes).is_healthy(HALF_LIFE_MS - 1));
    assert!(health(&stripes).is_healthy(HALF_LIFE_MS + 1));
    assert!(shares(&stripes, 1700)[&[0, 0]] < 170);
    for _ in 0..1000 {
        stripes.failed([0, 0], ConnectError::Busy, 0);
    }
    assert!(
        health(&stripes).is_healthy(5 * HALF_LIFE_MS),
        "bounded, however often it failed"
    );
    stripes.succeeded([0, 0], 10, 0);
    stripes.succeeded([0, 0], 10, 0);
    assert!(health(&stripes).is_healthy(HALF_LIFE_MS));
    assert_eq!(health(&stripes).latency_ms(), Some(10));
}

#[test]
fn error_of_the_target_costs_the_bridge_nothing_and_ends_the_tries() {
    let mut stripes = stripes(Mode::PerConnection, 2, 1);
    for error in [
        ConnectError::NoSuchHost,
        ConnectError::ConnectionRefused,
        ConnectError::HostUnreachable,
        ConnectError::TimedOut,
    ] {
        assert!(!stripes.failed([0, 0], error, 0), "{error}");
    }
    assert!(
        stripes.failed([0, 0], ConnectError::RefusedByPolicy, 0),
        "another may have another policy"
    );
    assert_eq!(stripes.bridges().next().unwrap().1, Health::default());
}

#[test]
fn hosts_of_one_site_share_a_bridge_and_sites_are_spread() {
    let stripes = stripes(Mode::PerSite, 8, 1);
    let mut rng = rng(2);
    let mut choose = |host: &str| first(&stripes, host, &Isolation::Shared, &mut rng);
    let one = choose("example.co.uk");
    for host in ["www.example.co.uk", "a.b.example.co.uk", "example.co.uk"] {
        assert_eq!(choose(host), one, "{host}");
    }
    assert_eq!(choose("192.0.2.1"), choose("[::ffff:192.0.2.1]"));
    let sites = (0..200).map(|number| choose(&format!("site{number}.co.uk")));
    let used: std::collections::BTreeSet<_> = sites.collect();
    assert_eq!(used.len(), 8);
}

#[test]
fn key_has_a_bridge_of_its_own_in_each_mode() {
    let mut rng = rng(2);
    let plain = stripes(Mode::PerConnection, 64, 1);
    let own = first(&plain, "a.example", &key("alice"), &mut rng);
    for host in ["a.example", "b.example", "192.0.2.1"] {
        assert_eq!(first(&plain, host, &key("alice"), &mut rng), own);
    }
    assert_ne!(first(&plain, "a.example", &key("bob"), &mut rng), own);
    let per_site = stripes(Mode::PerSite, 64, 1);
    let one = first(&per_site, "a.example", &key("alice"), &mut rng);
    assert_eq!(first(&per_site, "a.example", &key("alice"), &mut rng), one);
    assert_ne!(first(&per_site, "a.example", &key("bob"), &mut rng), one);
    assert_ne!(
        first(&per_site, "a.example", &Isolation::Shared, &mut rng),
        one
    );
}

#[test]
fn pinned_bridge_is_the_only_one() {
    let mut rng = rng(2);
    let pinned = stripes(Mode::Pin([0, 3]), 8, 1);
    let mut tries = pinned.start(&target("a.example"), &key("alice"));
    assert_eq!(pinned.choose(&mut tries, |_| true, 0, &mut rng), Ok([0, 3]));
    assert_eq!(
        pinned.choose(&mut tries, |_| true, 0, &mut rng),
        Err(NoBridge::Exhausted)
    );
    let mut gone = stripes(Mode::Pin([0, 9]), 8, 1);
    let mut tries = gone.start(&target("a.example"), &Isolation::Shared);
    assert_eq!(
        gone.choose(&mut tries, |_| true, 0, &mut rng),
        Err(NoBridge::Unknown)
    );
    gone.set_bridges(bridges(10));
    assert_eq!(gone.choose(&mut tries, |_| true, 0, &mut rng), Ok([0, 9]));
}

#[test]
fn bridges_beyond_the_bound_are_left_out() {
    let stripes = stripes(Mode::PerConnection, 2000, 1);
    assert_eq!(stripes.bridges().count(), MAX_BRIDGES);
}

fn mode() -> impl Strategy<Value = Mode<Bridge>> {
    prop_oneof![
        Just(Mode::PerConnection),
        Just(Mode::PerSite),
        (0_u16..12).prop_map(|bridge| Mode::Pin(bridge.to_be_bytes())),
    ]
}

proptest! {
    #[test]
    fn tries_are_bounded_and_none_is_repeated(
        mode in mode(), count in 0_u16..10, seed: u64, isolation in prop::option::of("[a-c]"),
        events in prop::collection::vec((0_u16..10, any::<bool>(), 0_u64..200_000, any::<u64>()), 0..40),
    ) {
        let mut stripes = stripes(mode, count, seed);
        for (bridge, is_good, now_ms, latency_ms) in events {
            match is_good {
                true => stripes.succeeded(bridge.to_be_bytes(), latency_ms, now_ms),
                false => { stripes.failed(bridge.to_be_bytes(), ConnectError::BridgeLost, now_ms); }
            }
        }
        let isolation = isolation.map_or(Isolation::Shared, |name| key(&name));
        let mut tries = stripes.start(&target("a.example"), &isolation);
        let (mut rng, mut chosen) = (rng(seed), Vec::new());
        let ended = loop {
            match stripes.choose(&mut tries, |_| true, 100_000, &mut rng) {
                Ok(bridge) => chosen.push(bridge),
                Err(none) => break none,
            }
        };
        let most = match mode {
            Mode::Pin(bridge) => usize::from(u16::from_be_bytes(bridge) < count),
            _ => usize::from(count).min(MAX_TRIES),
        };
        prop_assert_eq!(chosen.len(), most);
        prop_assert_eq!(ended, if most == 0 { NoBridge::Unknown } else { NoBridge::Exhausted });
        chosen.sort_unstable();
        chosen.dedup();
        prop_assert_eq!(chosen.len(), most);
    }

    #[test]
    fn affinity_moves_only_when_its_bridge_goes_or_falls_sick(
        seed: u64, count in 2_u16..20, gone in 0_u16..20, per_site: bool, site in 0_u16..500,
    ) {
        let mode = if per_site { Mode::PerSite } else { Mode::PerConnection };
        let mut stripes = stripes(mode, count, seed);
        let (mut rng, host) = (rng(seed), format!("site{site}.example"));
        let isolation = if per_site { Isolation::Shared } else { key(&host) };
        let before = first(&stripes, &host, &isolation, &mut rng);
        let gone = gone.to_be_bytes();
        stripes.failed(gone, ConnectError::BridgeLost, 0);
        let sick = first(&stripes, &host, &isolation, &mut rng);
        prop_assert_eq!(sick == before, gone != before);
        stripes.set_bridges(bridges(count).into_iter().filter(|bridge| *bridge != gone));
        prop_assert_eq!(first(&stripes, &host, &isolation, &mut rng), sick);
        stripes.set_bridges(bridges(count));
        prop_assert_eq!(first(&stripes, &host, &isolation, &mut rng), before);
    }

    #[test]
    fn weight_is_above_zero_and_finite_whatever_happened(
        events in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u64>()), 0..100), now_ms: u64,
    ) {
        let mut health = Health::default();
        for (is_good, latency_ms, now_ms) in events {
            match is_good {
                true => health.succeeded(latency_ms, now_ms),
                false => health.failed(now_ms),
            }
        }
        let weight = health.weight(now_ms);
        prop_assert!(weight.is_normal() && weight > 0.0, "{weight}");
    }
}

#[test]
fn bridge_that_does_not_fit_is_never_chosen() {
    for mode in [Mode::PerConnection, Mode::PerSite] {
        let stripes = stripes(mode, 5, 1);
        let mut rng = rng(3);
        for site in 0..50 {
            let host = format!("host{site}.example");
            let mut tries = stripes.start(&target(&host), &Isolation::Shared);
            let fit = |bridge: &Bridge| bridge[1] >= 3;
            let mut chosen: Vec<_> = (0..2)
                .map(|_| stripes.choose(&mut tries, fit, 0, &mut rng).unwrap())
                .collect();
            chosen.sort_unstable();
            assert_eq!(chosen, [[0, 3], [0, 4]]);
            let next = stripes.choose(&mut tries, fit, 0, &mut rng);
            assert_eq!(next, Err(NoBridge::Exhausted));
        }
    }
}

#[test]
fn bridges_of_which_none_fits_are_told_from_no_bridges() {
    let mut rng = rng(3);
    let mut asked = |stripes: &Stripes<Bridge>| {
        let mut tries = stripes.start(&target("a.example"), &Isolation::Shared);
        stripes.choose(&mut tries, |_| false, 0, &mut rng)
    };
    assert_eq!(
        asked(&stripes(Mode::PerConnection, 3, 1)),
        Err(NoBridge::Unfit)
    );
    assert_eq!(
        asked(&stripes(Mode::PerConnection, 0, 1)),
        Err(NoBridge::Unknown)
    );
    let pinned = |bridge| stripes(Mode::Pin(bridge), 3, 1);
    assert_eq!(asked(&pinned([0, 1])), Err(NoBridge::Unfit));
    assert_eq!(asked(&pinned([0, 9])), Err(NoBridge::Unknown));
}
