//! Heads of requests that claim a wallet: what a publisher verifies before it knows who asks.
#![no_main]
use http::Request;
use http::header::{HeaderName, HeaderValue};
use signin::{BodyDigest, RequestParts, Verifier, VerifierConfig, may_sign};

// Lines as in a head: method and target, then fields.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut first = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else { return };
    let Ok(mut request) = Request::builder().method(method).uri(target).body(()) else { return };
    for line in lines {
        let mut line = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (line.next(), line.next()) else { return };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) else { return };
        let _bound = request.headers_mut().try_append(name, value);
    }
    let has_body = RequestParts::announces_body(request.headers());
    let Ok(parts) = RequestParts::of(&request, has_body) else { return };
    let _said = may_sign(parts.method, parts.fields, &parts.authority);
    let verifier = Verifier::new(VerifierConfig::new(31_337, [parts.authority.clone()]));
    if let Ok(Some(verified)) = verifier.verify(&parts, 1_800_000_001) {
        assert!(!has_body || verified.digest.is_some());
        assert!(verifier.verify(&parts, 1_800_000_001).is_err(), "it counts once");
    }
    if let Some(Ok(field)) = request.headers().get("content-digest").map(HeaderValue::to_str)
        && let Ok(digest) = BodyDigest::from_field(field)
    {
        assert_eq!(BodyDigest::from_field(&digest.to_field()), Ok(digest));
    }
});
