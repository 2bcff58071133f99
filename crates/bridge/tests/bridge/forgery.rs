//! Requests that are forged to reach the bridge's own network (server-side request forgery).

use bridge::policy::Denial;
use bridge::{Blame, Config, ConnectError};
use protocol::target::Target;

use super::virtual_world::{Behaviour, World};

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// A world in which every private host would accept, so that only the bridge stands in between.
fn trap() -> World {
    let mut world = World::default();
    for host in [
        "127.0.0.1:80",
        "[::1]:80",
        "10.0.0.1:80",
        "169.254.169.254:80",
        "[fd00::1]:80",
        "8.8.8.8:80",
    ] {
        world = world.host(host, Behaviour::Accepts(1));
    }
    world
}

fn denied(world: &World, text: &str) -> ConnectError {
    let bridge = world.bridge(Config::default());
    let error = world.run(bridge.connect(1, &target(text))).unwrap_err();
    assert_eq!(world.attempts(), [], "{text}");
    error
}

#[test]
fn address_of_the_own_network_is_denied_however_it_is_written() {
    for text in [
        "127.0.0.1:80",
        "127.255.255.254:80",
        "0.0.0.0:80",
        "10.0.0.1:80",
        "169.254.169.254:80",
        "[::1]:80",
        "[::]:80",
        "[::ffff:127.0.0.1]:80",
        "[::ffff:7f00:1]:80",
        "[0:0:0:0:0:ffff:a9fe:a9fe]:80",
        "[::127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[2002:7f00:1::]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
    ] {
        assert_eq!(
            denied(&trap(), text),
            ConnectError::Denied(Denial::Address),
            "{text}"
        );
    }
    for text in [
        "2130706433:80",
        "0x7f000001:80",
        "0x7f.1:80",
        "127.1:80",
        "0177.0.0.1:80",
        "0177.0.0.01:80",
    ] {
        assert!(
            text.parse::<Target>().is_err(),
            "{text} never becomes a target"
        );
    }
}

#[test]
fn names_of_the_own_network_are_denied_and_not_even_asked_for() {
    for text in [
        "localhost:80",
        "LOCALHOST.:80",
        "a.localhost:80",
        "printer.local:80",
        "metadata.google.internal:80",
        "db:80",
        "site.onion:80",
        "notes.conet:80",
        "1.0.0.127.in-addr.arpa:80",
    ] {
        let world = trap();
        let error = denied(&world, text);
        assert_eq!(error, ConnectError::Denied(Denial::Name), "{text}");
        assert_eq!(error.blame(), Blame::Client);
        assert_eq!(world.questions(), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn name_is_not_asked_for_where_no_answer_would_be_used() {
    let world = trap().name("mx.example", &["8.8.8.8"]);
    assert_eq!(
        denied(&world, "mx.example:25"),
        ConnectError::Denied(Denial::Rule)
    );
    assert_eq!(world.questions(), Vec::<String>::new());
}

#[test]
fn name_that_resolves_to_private_addresses_is_denied() {
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "fd00::1",
        "169.254.169.254",
        "64:ff9b::a00:1",
    ] {
        let world = trap().name("evil.example", &[address]);
        let error = denied(&world, "evil.example:80");
        assert_eq!(error, ConnectError::Denied(Denial::Address), "{address}");
    }
}

#[test]
fn of_a_name_with_private_and_public_addresses_only_the_public_are_tried() {
    let world = trap().name(
        "mixed.example",
        &["10.0.0.1", "::1", "8.8.4.4", "::ffff:127.0.0.1", "8.8.8.8"],
    );
    let bridge = world.bridge(Config::default());
    let connection = world
        .run(bridge.connect(1, &target("mixed.example:80")))
        .unwrap();
    assert_eq!(connection.stream, "8.8.8.8:80".parse().unwrap());
    assert_eq!(world.attempted(), ["8.8.4.4:80", "8.8.8.8:80"]);
}

/// DNS rebinding: the name servers of an attacker give a public address to whoever checks, and a private one to whoever
/// connects. Who asks once and connects to what was checked can't be had that way.
#[test]
fn rebound_name_is_connected_to_where_it_was_checked() {
    let world = trap()
        .name("rebind.example", &["8.8.8.8"])
        .name("rebind.example", &["127.0.0.1"]);
    let bridge = world.bridge(Config::default());
    let connection = world
        .run(bridge.connect(1, &target("rebind.example:80")))
        .unwrap();
    assert_eq!(connection.stream, "8.8.8.8:80".parse().unwrap());
    assert_eq!(world.questions(), ["rebind.example"], "asked once");

    let second = world.run(bridge.connect(1, &target("rebind.example:80")));
    assert_eq!(second.unwrap_err(), ConnectError::Denied(Denial::Address));
    assert_eq!(world.attempted(), ["8.8.8.8:80"]);
}

/// A redirect is followed by the client, who then asks the bridge for another target.
#[test]
fn target_of_a_redirect_is_judged_like_any_other() {
    let world = trap().name("redirects.example", &["8.8.8.8"]);
    let bridge = world.bridge(Config::default());
    assert!(
        world
            .run(bridge.connect(1, &target("redirects.example:80")))
            .is_ok()
    );
    let redirected = world.run(bridge.connect(1, &target("169.254.169.254:80")));
    assert_eq!(
        redirected.unwrap_err(),
        ConnectError::Denied(Denial::Address)
    );
}

#[test]
fn bridge_does_not_connect_to_itself_at_a_public_address() {
    // What the operator said, and what only the machine knows.
    let config = Config {
        own: vec!["8.8.8.8".parse().unwrap()],
        ..Config::default()
    };
    let world = trap()
        .own("8.8.4.4")
        .name("me.example", &["8.8.8.8", "8.8.4.4"]);
    let bridge = world.bridge(config);
    for text in [
        "8.8.8.8:80",
        "8.8.4.4:80",
        "[::ffff:8.8.4.4]:80",
        "me.example:80",
    ] {
        let error = world.run(bridge.connect(1, &target(text))).unwrap_err();
        assert_eq!(error, ConnectError::Denied(Denial::Own), "{text}");
    }
    assert_eq!(world.attempts(), []);
}

#[test]
fn allowed_target_is_reached_and_its_neighbours_are_not() {
    let config = Config {
        allow: vec![
            "127.0.0.1:80".parse().unwrap(),
            "notes.conet:80".parse().unwrap(),
        ],
        ..Config::default()
    };
    let world = trap().own("127.0.0.1").name("notes.conet", &["10.0.0.1"]);
    let bridge = world.bridge(config);
    for text in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "notes.conet:80"] {
        assert!(
            world.run(bridge.connect(1, &target(text))).is_ok(),
            "{text}"
        );
    }
    for text in ["127.0.0.1:81", "127.0.0.2:80", "10.0.0.1:80", "[::1]:80"] {
        let error = world.run(bridge.connect(1, &target(text))).unwrap_err();
        assert_eq!(error, ConnectError::Denied(Denial::Address), "{text}");
    }
}
