//! What a verifier refuses, and why.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use signin::{
    BodyDigest, CLOCK_SKEW_S, ComponentError, DEFAULT_VALIDITY_S, Nonce, RequestParts, SignError,
    Verified, Verifier, VerifierConfig, VerifyError, sign,
};
use wallet::WalletKey;

const CHAIN: u64 = 31_337;
const NOW_S: u64 = 1_800_000_000;
const BODY: &[u8] = b"text=buy+milk";

fn wallet(seed: u64) -> WalletKey {
    WalletKey::generate(&mut StdRng::seed_from_u64(seed))
}

fn verifier() -> Verifier {
    Verifier::new(VerifierConfig::new(CHAIN, ["notes.conet".parse().unwrap()]))
}

fn unsigned() -> Request<()> {
    let request = Request::post("/notes?list=1").header("host", "notes.conet");
    request.body(()).unwrap()
}

fn signed_with(nonce: &str) -> Request<()> {
    let mut request = unsigned();
    let (digest, nonce) = (BodyDigest::of(BODY), nonce.parse().unwrap());
    let parts = RequestParts::of(&request, true).unwrap();
    let fields = sign(&parts, Some(&digest), &wallet(1), CHAIN, NOW_S, &nonce).unwrap();
    fields.put_into(request.headers_mut());
    request
}

fn verify_at(
    verifier: &Verifier,
    request: &Request<()>,
    now_s: u64,
) -> Result<Option<Verified>, VerifyError> {
    verifier.verify(&RequestParts::of(request, true).unwrap(), now_s)
}

fn verify(request: &Request<()>) -> Result<Option<Verified>, VerifyError> {
    verify_at(&verifier(), request, NOW_S)
}

fn set(request: &mut Request<()>, name: &str, value: &str) {
    let (name, value): (HeaderName, HeaderValue) = (name.parse().unwrap(), value.parse().unwrap());
    request.headers_mut().insert(name, value);
}

/// Changes what the signature says of itself.
fn edit(from: &str, to: &str) -> Request<()> {
    let mut request = signed_with("n");
    let input = request.headers()["signature-input"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(input.contains(from), "{input}");
    set(&mut request, "signature-input", &input.replace(from, to));
    request
}

#[test]
fn signed_request_tells_the_wallet_and_the_digest() {
    let verified = verify(&signed_with("n")).unwrap().unwrap();
    assert_eq!(verified.wallet, wallet(1).address());
    assert_eq!(verified.digest, Some(BodyDigest::of(BODY)));
}

#[test]
fn request_that_no_wallet_signed_is_left_alone() {
    assert_eq!(verify(&unsigned()), Ok(None));
    let mut other = unsigned();
    set(
        &mut other,
        "signature-input",
        "sig1=(\"@method\");keyid=\"rsa-key\", x=1",
    );
    assert_eq!(verify(&other), Ok(None));
    let mut half = unsigned();
    set(&mut half, "signature", "eth=:AAAA:");
    assert_eq!(verify(&half), Ok(None));
}

#[test]
fn wallet_is_found_beside_signatures_of_another_kind() {
    let mut request = signed_with("n");
    let fields = request.headers_mut();
    fields.append(
        "signature-input",
        "a=();created=1;keyid=\"rsa\"".parse().unwrap(),
    );
    fields.append("signature", "a=:AAAA:".parse().unwrap());
    assert!(verify(&request).unwrap().is_some());
}

#[test]
fn changed_request_is_refused() {
    let changed = |change: &dyn Fn(&mut Request<()>)| {
        let mut request = signed_with("n");
        change(&mut request);
        verify(&request).unwrap_err()
    };
    let wrong = VerifyError::WrongWallet;
    assert_eq!(
        changed(&|request| *request.method_mut() = Method::PUT),
        wrong
    );
    assert_eq!(
        changed(&|request| *request.uri_mut() = "/admin?list=1".parse().unwrap()),
        wrong
    );
    assert_eq!(
        changed(&|request| *request.uri_mut() = "/notes?list=2".parse().unwrap()),
        wrong
    );
    let other = BodyDigest::of(b"text=sell+house").to_field();
    assert_eq!(
        changed(&|request| set(request, "content-digest", &other)),
        wrong
    );
    assert!(matches!(
        changed(&|request| drop(request.headers_mut().remove("content-digest"))),
        VerifyError::Component(_)
    ));
    assert!(matches!(
        changed(&|request| drop(request.headers_mut().remove("signature"))),
        VerifyError::Malformed(_)
    ));
}

#[test]
fn request_for_another_service_is_refused() {
    // As it was signed, at whoever else gets hold of it.
    let other = Verifier::new(VerifierConfig::new(CHAIN, ["bank.conet".parse().unwrap()]));
    assert_eq!(
        verify_at(&other, &signed_with("n"), NOW_S),
        Err(VerifyError::Retargeted)
    );
    // And with another host written over the one that was signed.
    let mut request = signed_with("n");
    set(&mut request, "host", "bank.conet");
    assert_eq!(
        verify_at(&other, &request, NOW_S),
        Err(VerifyError::WrongWallet)
    );
    let elsewhere = Verifier::new(VerifierConfig::new(1, ["notes.conet".parse().unwrap()]));
    let chains = VerifyError::OtherChain {
        theirs: CHAIN,
        ours: 1,
    };
    assert_eq!(verify_at(&elsewhere, &signed_with("n"), NOW_S), Err(chains));
}

#[test]
fn request_that_is_sent_again_is_refused_until_it_has_expired() {
    let (verifier, request) = (verifier(), signed_with("n"));
    let last_s = NOW_S + DEFAULT_VALIDITY_S + CLOCK_SKEW_S;
    assert!(verify_at(&verifier, &request, NOW_S).is_ok());
    assert_eq!(
        verify_at(&verifier, &request, NOW_S),
        Err(VerifyError::Replayed)
    );
    assert_eq!(
        verify_at(&verifier, &request, last_s),
        Err(VerifyError::Replayed)
    );
    let expired = VerifyError::Expired {
        ago_s: CLOCK_SKEW_S + 1,
    };
    assert_eq!(verify_at(&verifier, &request, last_s + 1), Err(expired));
    assert!(
        verify_at(&verifier, &signed_with("m"), NOW_S).is_ok(),
        "another nonce"
    );
}

#[test]
fn forged_request_takes_no_nonce_from_the_true_one() {
    let verifier = verifier();
    let mut forged = signed_with("n");
    *forged.method_mut() = Method::DELETE;
    assert_eq!(
        verify_at(&verifier, &forged, NOW_S),
        Err(VerifyError::WrongWallet)
    );
    assert!(verify_at(&verifier, &signed_with("n"), NOW_S).is_ok());
}

#[test]
fn verifier_without_room_is_busy_and_forgets_nothing() {
    let config = VerifierConfig::new(CHAIN, ["notes.conet".parse().unwrap()]);
    let verifier = Verifier::new(VerifierConfig {
        max_nonces: 2,
        ..config
    });
    for nonce in ["a", "b"] {
        assert!(verify_at(&verifier, &signed_with(nonce), NOW_S).is_ok());
    }
    assert_eq!(
        verify_at(&verifier, &signed_with("c"), NOW_S),
        Err(VerifyError::Busy)
    );
    assert_eq!(
        verify_at(&verifier, &signed_with("a"), NOW_S),
        Err(VerifyError::Replayed)
    );
}

#[test]
fn clocks_that_differ_have_an_error_of_their_own() {
    let at = |now_s| verify_at(&verifier(), &signed_with("n"), now_s);
    assert!(at(NOW_S - CLOCK_SKEW_S).is_ok());
    let skew = VerifyError::ClockSkew {
        ahead_s: CLOCK_SKEW_S + 1,
    };
    assert_eq!(at(NOW_S - CLOCK_SKEW_S - 1), Err(skew));
    assert!(skew.to_string().contains("clock skew"));
    assert!(at(NOW_S + DEFAULT_VALIDITY_S + CLOCK_SKEW_S).is_ok());
    assert!(matches!(
        at(NOW_S + 86_400),
        Err(VerifyError::Expired { ago_s: 86_340 })
    ));
    assert!(matches!(at(0), Err(VerifyError::ClockSkew { .. })));
}

#[test]
fn signature_that_covers_too_little_or_the_unknown_is_refused() {
    for (part, name) in [
        ("\"@authority\" ", "@authority"),
        (" \"@method\"", "@method"),
        (" \"@path\"", "@path"),
        (" \"@query\"", "@query"),
        (" \"content-digest\"", "content-digest"),
    ] {
        assert_eq!(verify(&edit(part, "")), Err(VerifyError::NotCovered(name)));
    }
    let unknown = VerifyError::Component(ComponentError::Unknown);
    for (to, error) in [
        ("\"@path\";sf", unknown),
        ("\"@path\" \"@status\"", unknown),
        ("\"@path\" path", unknown),
        (
            "\"@path\" \"x-missing\"",
            VerifyError::Component(ComponentError::Missing),
        ),
        (
            "\"@path\" \"@path\"",
            VerifyError::Malformed("it covers a part twice"),
        ),
        ("\"@path\" \"host\"", VerifyError::WrongWallet),
    ] {
        assert_eq!(verify(&edit("\"@path\"", to)), Err(error), "{to}");
    }
}

#[test]
fn signature_with_bad_parameters_is_refused() {
    let end = format!("expires={}", NOW_S + DEFAULT_VALIDITY_S);
    for (from, to, error) in [
        (end.as_str(), "expires=1800000000", VerifyError::Validity),
        (&end, "expires=1800000301", VerifyError::Validity),
        (&end, "expires=1", VerifyError::Validity),
        (&end, "expires=999999999999999", VerifyError::Validity),
        (&end, "expires=1800000059", VerifyError::WrongWallet),
        ("nonce=\"n\"", "nonce=\"\"", VerifyError::Nonce),
        (";nonce=\"n\"", "", VerifyError::Nonce),
        ("nonce=\"n\"", "nonce=\"m\"", VerifyError::WrongWallet),
    ] {
        assert_eq!(verify(&edit(from, to)), Err(error), "{to}");
    }
    let long = format!("nonce=\"{}\"", "n".repeat(65));
    assert_eq!(verify(&edit("nonce=\"n\"", &long)), Err(VerifyError::Nonce));
    for (from, to) in [
        (";created=1800000000", ""),
        ("created=1800000000", "created=-5"),
        ("created=1800000000", "created=\"x\""),
        ("erc8128:31337:", "erc8128:"),
        ("erc8128:31337:", "erc8128:-1:"),
        ("erc8128:31337:", "erc8128:99999999999999999999:"),
        ("eth=(", "eth((("),
        ("eth=(", "other=("),
    ] {
        assert!(
            matches!(verify(&edit(from, to)), Err(VerifyError::Malformed(_))),
            "{to}"
        );
    }
    let mut long = signed_with("n");
    set(
        &mut long,
        "signature",
        &format!("eth=:{}:", "A".repeat(8192)),
    );
    assert!(matches!(verify(&long), Err(VerifyError::Malformed(_))));
}

#[test]
fn request_of_two_wallets_is_refused() {
    let mut request = signed_with("n");
    let again = request.headers()["signature-input"]
        .to_str()
        .unwrap()
        .replace("eth=", "eth2=");
    request
        .headers_mut()
        .append("signature-input", again.parse().unwrap());
    assert_eq!(verify(&request), Err(VerifyError::Several));
}

#[test]
fn body_is_signed_with_its_digest_only() {
    let request = unsigned();
    let parts = RequestParts::of(&request, true).unwrap();
    let nonce = Nonce::generate(&mut StdRng::seed_from_u64(1));
    assert_eq!(
        sign(&parts, None, &wallet(1), CHAIN, NOW_S, &nonce),
        Err(SignError::NoDigest)
    );
}

proptest! {
    #[test]
    fn verifier_survives_any_fields(input in proptest::collection::vec(any::<u8>(), 0..200), signature in "\\PC{0,80}", known in any::<bool>()) {
        let mut request = signed_with("n");
        if let Ok(value) = HeaderValue::from_bytes(&input) {
            request.headers_mut().insert("signature-input", value);
        }
        if !known && let Ok(value) = HeaderValue::from_str(&signature) {
            request.headers_mut().insert("signature", value);
        }
        let _ = verify(&request);
    }

    #[test]
    fn no_changed_byte_of_the_signature_counts(at in 0_usize..400, to in 32_u8..127) {
        let mut request = signed_with("n");
        let mut bytes = request.headers()["signature-input"].as_bytes().to_vec();
        let at = at % bytes.len();
        let same = bytes[at] == to;
        bytes[at] = to;
        request.headers_mut().insert("signature-input", HeaderValue::from_bytes(&bytes).unwrap());
        // A case of the label, or of the address's digits, may change: then it is the same wallet or no signature.
        match verify(&request) {
            Ok(Some(verified)) => prop_assert!(same || verified.wallet == wallet(1).address()),
            Ok(None) | Err(_) => prop_assert!(!same),
        }
    }
}
