//! Which requests are signed: every combination of what browsers say.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use proptest::prelude::*;
use signin::may_sign;

fn asks(method: &str, fields: &[(&str, &str)]) -> bool {
    let mut request = Request::new(());
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        let value: HeaderValue = value.parse().unwrap();
        request.headers_mut().append(name, value);
    }
    let method: Method = method.parse().unwrap();
    may_sign(&method, request.headers(), &"notes.conet".parse().unwrap())
}

const CHROME: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/130");
const OWN: (&str, &str) = ("origin", "http://notes.conet");
const EVIL: (&str, &str) = ("origin", "http://evil.test");
const NAVIGATES: (&str, &str) = ("upgrade-insecure-requests", "1");
const FROM_OWN: (&str, &str) = ("referer", "http://notes.conet/list?x");
const FROM_EVIL: (&str, &str) = ("referer", "http://evil.test/");

fn site(value: &'static str) -> (&'static str, &'static str) {
    ("sec-fetch-site", value)
}
const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
const DOCUMENT: (&str, &str) = ("sec-fetch-dest", "document");

#[test]
fn request_that_the_person_or_the_site_wanted_is_signed() {
    for (what, method, fields) in [
        ("curl", "GET", vec![("user-agent", "curl/8")]),
        ("curl that posts", "POST", vec![("user-agent", "curl/8")]),
        ("a bare program", "DELETE", vec![]),
        ("typed in, http", "GET", vec![CHROME, NAVIGATES]),
        (
            "typed in, fetch metadata",
            "GET",
            vec![CHROME, site("none"), NAVIGATE, DOCUMENT],
        ),
        (
            "a link on a foreign page",
            "GET",
            vec![CHROME, site("cross-site"), NAVIGATE, DOCUMENT],
        ),
        (
            "a link on a sister site",
            "HEAD",
            vec![CHROME, site("same-site"), NAVIGATE, DOCUMENT],
        ),
        ("an image of its own", "GET", vec![CHROME, FROM_OWN]),
        (
            "a form of its own",
            "POST",
            vec![CHROME, OWN, FROM_OWN, NAVIGATES],
        ),
        (
            "a script of its own",
            "PUT",
            vec![CHROME, OWN, site("same-origin"), ("sec-fetch-mode", "cors")],
        ),
        (
            "a WebSocket of its own",
            "GET",
            vec![CHROME, OWN, ("upgrade", "websocket")],
        ),
    ] {
        assert!(asks(method, &fields), "{what}");
    }
}

#[test]
fn request_that_a_foreign_page_caused_is_not_signed() {
    for (what, method, fields) in [
        (
            "a form of a foreign page",
            "POST",
            vec![CHROME, EVIL, NAVIGATES, FROM_EVIL],
        ),
        (
            "a form that hides its page",
            "POST",
            vec![CHROME, ("origin", "null"), NAVIGATES],
        ),
        (
            "a form, fetch metadata",
            "POST",
            vec![CHROME, EVIL, site("cross-site"), NAVIGATE, DOCUMENT],
        ),
        (
            "a form without an origin",
            "POST",
            vec![CHROME, site("cross-site"), NAVIGATE, DOCUMENT],
        ),
        ("an old browser's form", "POST", vec![CHROME, NAVIGATES]),
        ("a script", "GET", vec![CHROME, EVIL]),
        (
            "a script on a sister site",
            "POST",
            vec![CHROME, ("origin", "http://a.notes.conet")],
        ),
        (
            "another port",
            "GET",
            vec![CHROME, ("origin", "http://notes.conet:81")],
        ),
        (
            "another scheme",
            "GET",
            vec![CHROME, ("origin", "https://notes.conet")],
        ),
        ("an image", "GET", vec![CHROME, FROM_EVIL]),
        ("an image without a referrer", "GET", vec![CHROME]),
        // Both say the same.
        (
            "a link on a foreign page or a frame of it, http",
            "GET",
            vec![CHROME, NAVIGATES, FROM_EVIL],
        ),
        (
            "an image, fetch metadata",
            "GET",
            vec![
                CHROME,
                site("cross-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
        ),
        (
            "a frame",
            "GET",
            vec![
                CHROME,
                site("cross-site"),
                NAVIGATE,
                ("sec-fetch-dest", "iframe"),
            ],
        ),
        (
            "a preflight",
            "OPTIONS",
            vec![CHROME, EVIL, ("access-control-request-method", "PUT")],
        ),
        (
            "a WebSocket",
            "GET",
            vec![CHROME, EVIL, ("upgrade", "websocket")],
        ),
        (
            "a page loaded ahead",
            "GET",
            vec![
                CHROME,
                site("cross-site"),
                NAVIGATE,
                DOCUMENT,
                ("sec-purpose", "prefetch;prerender"),
            ],
        ),
        (
            "a page loaded ahead, http",
            "GET",
            vec![CHROME, NAVIGATES, ("purpose", "prefetch")],
        ),
        (
            "a referrer that only begins alike",
            "GET",
            vec![CHROME, ("referer", "http://notes.conet.evil.test/")],
        ),
        (
            "a foreign referrer without a browser",
            "GET",
            vec![FROM_EVIL],
        ),
        (
            "a site that is not known",
            "GET",
            vec![site("x"), NAVIGATE, DOCUMENT],
        ),
        ("half of the metadata", "GET", vec![NAVIGATE, DOCUMENT]),
        ("two sites", "GET", vec![site("none"), site("none")]),
        ("two origins", "POST", vec![OWN, EVIL]),
    ] {
        assert!(!asks(method, &fields), "{what}");
    }
}

fn any_of(
    name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    proptest::collection::vec(
        proptest::sample::select(values).prop_map(move |value| (name, value)),
        0..3,
    )
}

prop_compose! {
    fn any_fields()(
        sites in any_of("sec-fetch-site", &["same-origin", "same-site", "cross-site", "none", "None", ""]),
        modes in any_of("sec-fetch-mode", &["navigate", "cors", "no-cors", "websocket"]),
        dests in any_of("sec-fetch-dest", &["document", "iframe", "image", "empty"]),
        origins in any_of("origin", &["null", "http://evil.test", "http://notes.conet", "http://notes.conet.", ""]),
        referers in any_of("referer", &["http://evil.test/", "http://notes.conet/", "http://notes.conet@evil.test/", ""]),
        upgrades in any_of("upgrade-insecure-requests", &["1", "0"]),
        agents in any_of("user-agent", &["Mozilla/5.0", "curl/8"]),
        ahead in any_of("purpose", &["prefetch"]),
    ) -> Vec<(&'static str, &'static str)> {
        [sites, modes, dests, origins, referers, upgrades, agents, ahead].concat()
    }
}

proptest! {
    #[test]
    fn foreign_origin_is_never_signed(method in "(GET|HEAD|POST|PUT)", fields in any_fields()) {
        let is_foreign = fields.iter().any(|(name, value)| *name == "origin" && *value != "http://notes.conet");
        prop_assert!(!is_foreign || !asks(&method, &fields));
    }

    #[test]
    fn cross_site_request_is_signed_only_as_a_navigation_that_reads(method in "(GET|HEAD|POST|PUT)", fields in any_fields()) {
        let has = |name: &str, value: &str| fields.contains(&(name, value));
        let is_foreign = has("sec-fetch-site", "cross-site") || has("sec-fetch-site", "same-site");
        if is_foreign && asks(&method, &fields) {
            prop_assert!(method == "GET" || method == "HEAD");
            prop_assert!(has("sec-fetch-mode", "navigate") && has("sec-fetch-dest", "document"));
            prop_assert!(!has("purpose", "prefetch"));
        }
    }

    #[test]
    fn browser_that_says_nothing_of_its_site_changes_nothing_signed(method in "(POST|PUT|DELETE|PATCH)", fields in any_fields()) {
        let has = |name: &str, value: &str| fields.contains(&(name, value));
        let own = has("sec-fetch-site", "same-origin") || has("sec-fetch-site", "none")
            || has("origin", "http://notes.conet") || has("referer", "http://notes.conet/");
        if has("user-agent", "Mozilla/5.0") && asks(&method, &fields) {
            prop_assert!(own);
        }
    }

    #[test]
    fn policy_survives_any_values(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 5)) {
        let mut fields = HeaderMap::new();
        let names = ["sec-fetch-site", "origin", "referer", "user-agent", "sec-fetch-mode"];
        for (name, value) in names.into_iter().zip(values) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                fields.append(name, value);
            }
        }
        let _ = may_sign(&Method::POST, &fields, &"notes.conet".parse().unwrap());
    }
}
