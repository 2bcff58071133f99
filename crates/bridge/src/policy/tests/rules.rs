//! Rules in their order, names, allowed targets.

use protocol::target::Target;

use super::super::{Denial, Exit, Outlook};
use super::{check, exit, name, policy, port};

#[test]
fn first_rule_that_matches_decides() {
    let exit = exit(
        "accept 8.8.8.0/24:53,443; reject 8.8.0.0/16:*; accept *:1-1023",
        &[],
    );
    for (address, number, verdict) in [
        ("8.8.8.8", 53, true),
        ("8.8.8.8", 443, true),
        ("8.8.8.8", 80, false),
        ("8.8.9.8", 443, false),
        ("8.9.0.1", 443, true),
        ("8.9.0.1", 1023, true),
        ("8.9.0.1", 1024, false), // no rule names it
    ] {
        let expected = if verdict { Ok(()) } else { Err(Denial::Rule) };
        assert_eq!(
            check(&exit, address, number).map(|_| ()),
            expected,
            "{address}:{number}"
        );
    }
}

#[test]
fn default_policy_reaches_the_public_internet_but_not_its_mail_servers() {
    let exit = Exit::default();
    assert!(check(&exit, "8.8.8.8", 443).is_ok());
    assert!(check(&exit, "2a00:1450::1", 587).is_ok());
    assert_eq!(check(&exit, "8.8.8.8", 25), Err(Denial::Rule));
    assert_eq!(
        exit.check_name(&name("mx.example.org"), port(25)),
        Err(Denial::Rule)
    );
}

#[test]
fn ipv4_rule_holds_for_translated_addresses() {
    let exit = exit("reject 8.8.8.0/24:*; accept *:*", &[]);
    assert_eq!(check(&exit, "64:ff9b::8.8.8.8", 443), Err(Denial::Rule));
    assert_eq!(check(&exit, "::ffff:8.8.8.8", 443), Err(Denial::Rule));
    assert!(check(&exit, "64:ff9b::8.8.9.8", 443).is_ok());
}

#[test]
fn name_rules_look_at_what_was_asked_for() {
    let exit = exit(
        "reject ads.example.org:*; reject *.tracker.example:*; accept *:*",
        &[],
    );
    let address = "8.8.8.8".parse().unwrap();
    for (text, is_open) in [
        ("ads.example.org", false),
        ("more.ads.example.org", true),
        ("a.tracker.example", false),
        ("a.b.tracker.example", false),
        ("tracker.example", true),
        ("nottracker.example", true),
    ] {
        let name = name(text);
        let expected = if is_open { Ok(()) } else { Err(Denial::Rule) };
        assert_eq!(exit.check_name(&name, port(443)), expected, "{text}");
        let checked = exit.check(Some(&name), address, port(443));
        assert_eq!(checked.map(|_| ()), expected, "{text}");
    }
}

#[test]
fn outlook_is_closed_only_where_no_address_could_be_accepted() {
    for (rules, target, is_open) in [
        ("accept 8.8.8.8:*", "site.example:80", true),
        ("reject 8.8.8.8:*", "site.example:80", false),
        ("reject 8.8.8.8:*; accept *:*", "site.example:80", true),
        ("accept 8.8.8.8:443; reject *:*", "site.example:80", false),
        (
            "reject site.example:*; accept *:*",
            "site.example:80",
            false,
        ),
        ("accept 8.8.8.8:*", "8.8.8.8:80", true),
        ("accept 8.8.8.8:*", "8.8.4.4:80", false),
        ("accept 8.8.8.8:*", "[::ffff:8.8.8.8]:80", true),
    ] {
        let target: Target = target.parse().unwrap();
        let expected = if is_open {
            Outlook::Open
        } else {
            Outlook::Closed
        };
        assert_eq!(policy(rules).outlook(&target), expected, "{rules} {target}");
    }
}

#[test]
fn allowed_target_wins_over_floor_and_rules_at_its_port_only() {
    let exit = exit(
        "reject *:*",
        &["127.0.0.1:8080", "[fd00::]/8:53", "localhost:9000"],
    );
    assert!(
        check(&exit, "127.0.0.1", 8080)
            .unwrap()
            .is_allowed_exactly()
    );
    assert!(check(&exit, "::ffff:127.0.0.1", 8080).is_ok());
    assert!(check(&exit, "fd12::1", 53).is_ok());
    assert_eq!(check(&exit, "127.0.0.1", 8081), Err(Denial::Address));
    assert_eq!(check(&exit, "127.0.0.2", 8080), Err(Denial::Address));
    assert_eq!(check(&exit, "fd12::1", 54), Err(Denial::Address));

    let local = name("localhost");
    let address = "127.0.0.1".parse().unwrap();
    assert_eq!(exit.check_name(&local, port(9000)), Ok(()));
    assert!(exit.check(Some(&local), address, port(9000)).is_ok());
    assert_eq!(exit.check_name(&local, port(9001)), Err(Denial::Name));
    assert_eq!(check(&exit, "127.0.0.1", 9000), Err(Denial::Address));
}

#[test]
fn allowed_network_does_not_open_refused_names() {
    let exit = exit("accept *:*", &["127.0.0.0/8:8080"]);
    assert_eq!(
        exit.check_name(&name("localhost"), port(8080)),
        Err(Denial::Name)
    );
    assert_eq!(exit.check_name(&name("site.example"), port(8080)), Ok(()));
}

#[test]
fn allowed_network_lets_names_be_resolved_that_rules_would_refuse() {
    let exit = exit("reject *:*", &["127.0.0.0/8:8080"]);
    assert_eq!(exit.check_name(&name("site.example"), port(8080)), Ok(()));
    assert_eq!(
        exit.check_name(&name("site.example"), port(8081)),
        Err(Denial::Rule)
    );
}
