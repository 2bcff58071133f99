//! Happy eyeballs and the limits around them, on a virtual clock.

use core::pin::pin;
use core::task::{Context, Waker};

use bridge::{Blame, Busy, Config, ConnectError, Limits, MAX_ADDRESSES, Quota, ResolveError};
use protocol::target::Target;

use super::virtual_world::{Behaviour, World};

const V6: &str = "[2a00::1]:443";
const V4: &str = "8.8.8.8:443";

fn site() -> Target {
    "site.example:443".parse().unwrap()
}

fn dual_stack() -> World {
    World::default().name(
        "site.example",
        &["2a00::1", "2a00::2", "8.8.8.8", "8.8.4.4"],
    )
}

fn connect(world: &World) -> Result<String, ConnectError> {
    let bridge = world.bridge(Config::default());
    let connection = world.run(bridge.connect(1, &site()))?;
    Ok(connection.stream.to_string())
}

#[test]
fn silent_ipv6_gives_way_to_ipv4_after_a_quarter_of_a_second() {
    let world = dual_stack().host(V4, Behaviour::Accepts(20));
    assert_eq!(connect(&world).unwrap(), V4);
    assert_eq!(world.attempts(), [(0, V6.to_owned()), (250, V4.to_owned())]);
    assert_eq!(world.now_ms(), 270);
}

#[test]
fn attempt_that_fails_makes_the_next_begin_at_once() {
    let world = dual_stack()
        .host(V6, Behaviour::Refuses(10))
        .host(V4, Behaviour::Accepts(20));
    assert_eq!(connect(&world).unwrap(), V4);
    assert_eq!(world.attempts(), [(0, V6.to_owned()), (10, V4.to_owned())]);
}

#[test]
fn first_attempt_goes_on_while_the_second_is_tried() {
    let world = dual_stack()
        .host(V6, Behaviour::Accepts(300))
        .host(V4, Behaviour::Accepts(100));
    assert_eq!(connect(&world).unwrap(), V6);
    assert_eq!(world.now_ms(), 300);
}

#[test]
fn families_are_tried_in_turn() {
    let world = dual_stack();
    assert_eq!(connect(&world), Err(ConnectError::TimedOut));
    let order = [V6, V4, "[2a00::2]:443", "8.8.4.4:443"];
    assert_eq!(world.attempted(), order);
    assert_eq!(
        world.now_ms(),
        10_000,
        "the whole takes no longer than it may"
    );
}

#[test]
fn address_without_a_route_costs_no_time_and_no_attempt() {
    let world = dual_stack()
        .host(V6, Behaviour::NoRoute)
        .host(V4, Behaviour::Accepts(20));
    assert_eq!(connect(&world).unwrap(), V4);
    assert_eq!(world.attempts(), [(0, V4.to_owned())]);
}

#[test]
fn endless_answer_is_tried_in_bounds() {
    let many: Vec<String> = (1..=200).map(|n| format!("8.8.8.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let world = World::default().name("site.example", &many);
    assert_eq!(connect(&world), Err(ConnectError::TimedOut));
    assert_eq!(world.attempts().len(), MAX_ADDRESSES);
}

#[test]
fn second_family_is_tried_though_the_first_has_too_many_addresses() {
    let mut many: Vec<String> = (1..=20).map(|n| format!("2a00::{n}")).collect();
    many.push("8.8.8.8".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let world = World::default()
        .name("site.example", &many)
        .host(V4, Behaviour::Accepts(1));
    assert_eq!(connect(&world).unwrap(), V4);
}

#[test]
fn failure_that_tells_most_is_given() {
    let refuses = Behaviour::Refuses(1);
    for (addresses, hosts, error) in [
        (
            vec!["2a00::1", "8.8.8.8"],
            vec![(V6, refuses), (V4, Behaviour::NoRoute)],
            ConnectError::Refused,
        ),
        (
            vec!["2a00::1", "8.8.8.8"],
            vec![(V6, Behaviour::NoRoute), (V4, refuses)],
            ConnectError::Refused,
        ),
        (
            vec!["2a00::1", "8.8.8.8"],
            vec![(V6, refuses)],
            ConnectError::Refused,
        ),
        (
            vec!["2a00::1", "8.8.8.8"],
            vec![(V6, Behaviour::NoRoute)],
            ConnectError::TimedOut,
        ),
        (
            vec!["2a00::1"],
            vec![(V6, Behaviour::NoRoute)],
            ConnectError::Unreachable,
        ),
        (
            vec!["2a00::1", "8.8.8.8"],
            vec![(V6, Behaviour::NoSocket), (V4, refuses)],
            ConnectError::Refused,
        ),
        (vec![], vec![], ConnectError::NoSuchHost),
    ] {
        let mut world = World::default().name("site.example", &addresses);
        for (host, behaviour) in hosts {
            world = world.host(host, behaviour);
        }
        assert_eq!(connect(&world), Err(error));
        assert_eq!(error.blame(), Blame::Host);
    }
    let world = World::default()
        .name("site.example", &["2a00::1"])
        .host(V6, Behaviour::NoSocket);
    assert_eq!(connect(&world).unwrap_err().blame(), Blame::Bridge);
}

#[test]
fn resolver_that_fails_or_is_silent_is_the_bridge_s_fault() {
    let silent = World::default();
    assert_eq!(connect(&silent), Err(ConnectError::ResolverFailed));
    assert_eq!(silent.now_ms(), 5000);
    let failing = World::default().answer("site.example", Err(ResolveError::Failed));
    assert_eq!(connect(&failing), Err(ConnectError::ResolverFailed));
    assert_eq!(ConnectError::ResolverFailed.blame(), Blame::Bridge);
    let empty = World::default().answer("site.example", Err(ResolveError::NoSuchHost));
    assert_eq!(connect(&empty), Err(ConnectError::NoSuchHost));
}

#[test]
fn client_at_its_limit_is_refused_before_its_name_is_asked_for() {
    let client = Quota {
        connections: 1,
        ..Limits::default().client
    };
    let config = Config {
        limits: Limits {
            client,
            ..Limits::default()
        },
        ..Config::default()
    };
    let world = dual_stack().host(V6, Behaviour::Accepts(1));
    let bridge = world.bridge(config);
    let held = world.run(bridge.connect(1, &site())).unwrap();
    let second = world.run(bridge.connect(1, &site())).unwrap_err();
    assert_eq!(second, ConnectError::Busy(Busy::ClientConnections));
    assert_eq!(second.blame(), Blame::Client);
    assert_eq!(world.questions().len(), 1);
    assert!(world.run(bridge.connect(2, &site())).is_ok());
    drop(held);
    assert!(world.run(bridge.connect(1, &site())).is_ok());
}

#[test]
fn connection_that_is_given_up_or_fails_leaves_nothing_behind() {
    let client = Quota {
        connections: 1,
        pending: 1,
        ..Limits::default().client
    };
    let config = Config {
        limits: Limits {
            client,
            ..Limits::default()
        },
        ..Config::default()
    };
    let world = World::default().name("site.example", &["8.8.8.8"]);
    let bridge = world.bridge(config);
    for _ in 0..3 {
        let target = site();
        let mut attempt = pin!(bridge.connect(1, &target));
        let mut context = Context::from_waker(Waker::noop());
        assert!(attempt.as_mut().poll(&mut context).is_pending());
    }
    for _ in 0..3 {
        assert_eq!(
            world.run(bridge.connect(1, &site())).unwrap_err(),
            ConnectError::TimedOut
        );
    }
}
