//! Reading and writing policies.

use proptest::prelude::*;
use protocol::target::TargetError;

use super::super::text::{MAX_POLICY_BYTES, MAX_POLICY_INPUT_BYTES, MAX_RULES};
use super::super::{AllowedTarget, AllowedTargetError, Policy, PolicyError, RuleError};
use super::policy;

#[test]
fn policy_is_read_with_comments_and_written_compact() {
    let text = "# our exit\n  reject 198.51.100.0/24 :*\n".replace(" :", ":")
        + "reject [2001:DB8::]/32:1-1024 ; ; accept  Example.ORG.:443,80,81-90,82\r\n"
        + "accept *.example.org:* # all of them\n\naccept 8.8.8.8/32:53-53\naccept *:1-65535";
    assert_eq!(
        policy(&text).to_string(),
        "reject 198.51.100.0/24:*;reject [2001:db8::]/32:1-1024;accept example.org:80-90,443;\
         accept *.example.org:*;accept 8.8.8.8:53;accept *:*"
    );
}

#[test]
fn mapped_network_is_written_as_ipv4() {
    assert_eq!(
        policy("reject [::ffff:8.8.8.0]/120:*").to_string(),
        "reject 8.8.8.0/24:*"
    );
    assert_eq!(
        policy("reject [::ffff:8.8.8.8]:*").to_string(),
        "reject 8.8.8.8:*"
    );
}

#[test]
fn rules_that_are_none_say_why() {
    for (text, error) in [
        ("permit *:80", RuleError::Action),
        ("accept", RuleError::Action),
        ("accept *", RuleError::NoPorts),
        ("accept *:", RuleError::NoPorts),
        ("accept *:0", RuleError::Port),
        ("accept *:65536", RuleError::Port),
        ("accept *:+80", RuleError::Port),
        ("accept *:90-80", RuleError::Port),
        ("accept *:80,", RuleError::Port),
        ("accept *:80-", RuleError::Port),
        ("accept 2001:db8::1:80", RuleError::Brackets),
        ("accept 8.8.8.8/33:80", RuleError::PrefixLength),
        ("accept 8.8.8.8/-1:80", RuleError::PrefixLength),
        ("accept 8.8.8.8/:80", RuleError::PrefixLength),
        ("accept [2a00::]/129:80", RuleError::PrefixLength),
        ("accept [::ffff:0:0]/90:80", RuleError::Mapped),
        (
            "accept 8.8.8.8/24:80",
            RuleError::HostBits {
                network: "8.8.8.0/24".parse().unwrap(),
            },
        ),
        ("accept :80", RuleError::Host(TargetError::NoHost)),
        ("accept 010.8.8.8:80", RuleError::Host(TargetError::Number)),
        ("accept a b:80", RuleError::Host(TargetError::Character)),
        (
            "accept *.*.example:80",
            RuleError::Host(TargetError::Character),
        ),
        (
            "accept site.example/24:80",
            RuleError::Host(TargetError::Character),
        ),
    ] {
        let expected = PolicyError::Rule {
            position: 2,
            source: error,
        };
        assert_eq!(
            format!("reject *:25\n{text}").parse::<Policy>(),
            Err(expected),
            "{text}"
        );
    }
}

#[test]
fn policy_without_rules_and_endless_policies_are_refused() {
    assert_eq!(
        " \n# nothing;\n;".parse::<Policy>(),
        Err(PolicyError::Empty)
    );
    let rule = "accept *:1;";
    assert!(rule.repeat(MAX_RULES).parse::<Policy>().is_ok());
    assert_eq!(
        rule.repeat(MAX_RULES + 1).parse::<Policy>(),
        Err(PolicyError::TooManyRules)
    );
    let comment = "#".repeat(MAX_POLICY_INPUT_BYTES);
    assert_eq!(comment.parse::<Policy>(), Err(PolicyError::Empty));
    assert_eq!(
        (comment + "#").parse::<Policy>(),
        Err(PolicyError::InputTooLong)
    );
    let ports: Vec<_> = (1..400).map(|n| (n * 2).to_string()).collect();
    let long = format!("accept *:{}", ports.join(","));
    assert_eq!(long.parse::<Policy>(), Err(PolicyError::TooLong));
}

#[test]
fn allowed_targets_that_are_none_say_why() {
    for (text, error) in [
        ("127.0.0.1", AllowedTargetError::Port),
        ("127.0.0.1:*", AllowedTargetError::Port),
        ("127.0.0.1:0", AllowedTargetError::Port),
        ("127.0.0.1:80-90", AllowedTargetError::Port),
        ("*:80", AllowedTargetError::Wildcard),
        ("*.example:80", AllowedTargetError::Wildcard),
        ("::1:80", AllowedTargetError::Host(RuleError::Brackets)),
    ] {
        assert_eq!(text.parse::<AllowedTarget>(), Err(error), "{text}");
    }
    for text in [
        "127.0.0.0/8:80",
        "[::1]:80",
        "[fd00::]/8:80",
        "localhost:3000",
    ] {
        assert_eq!(text.parse::<AllowedTarget>().unwrap().to_string(), text);
    }
}

/// Texts that look like policies, broken here and there.
fn nearly_a_policy() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec!["accept", "reject", "accept ", "rejec", ""]);
    let host = prop_oneof![
        Just("*".to_owned()),
        "(\\*\\.)?[a-zA-Z0-9-]{1,8}(\\.[a-z0-9]{1,4}){0,2}\\.?",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{0,3})?",
        "\\[[0-9a-f:]{2,20}(\\.0){0,3}\\]?(/[0-9]{1,3})?",
    ];
    let ports = prop_oneof![Just("*".to_owned()), "[0-9]{1,5}((,|-)[0-9]{1,5}){0,4}"];
    let rule = (action, host, ports).prop_map(|(a, h, p)| format!("{a} {h}:{p}"));
    let end = prop::sample::select(vec![";", "\n", " # note\n", "", "\r\n"]);
    let rules = prop::collection::vec((rule, end), 0..6);
    rules.prop_map(|rules| rules.into_iter().map(|(r, e)| r + e).collect())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
        let _ = text.parse::<Policy>();
        let _ = text.parse::<AllowedTarget>();
    }

    #[test]
    fn policy_that_was_read_is_read_again_from_its_compact_text(text in nearly_a_policy()) {
        if let Ok(policy) = text.parse::<Policy>() {
            let compact = policy.to_string();
            prop_assert!(compact.len() <= MAX_POLICY_BYTES);
            prop_assert!(!compact.contains('\n'));
            prop_assert_eq!(compact.parse::<Policy>(), Ok(policy));
        }
    }
}
