//! Signatures and wallets that others have computed: `@slicekit/erc8128` with viem, and HKDF by node.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use http::Request;
use serde::Deserialize;
use signin::{BodyDigest, RequestParts, Verifier, VerifierConfig, sign, site_wallet};
use wallet::WalletKey;

#[derive(Deserialize)]
struct Vectors {
    secret: String,
    wallet: String,
    chain_id: u64,
    requests: Vec<Signed>,
    sites: Vec<Site>,
}

#[derive(Deserialize)]
struct Signed {
    method: String,
    host: String,
    target: String,
    body: Option<String>,
    created: u64,
    nonce: String,
    content_digest: Option<String>,
    signature_input: String,
    signature: String,
}

#[derive(Deserialize)]
struct Site {
    site: String,
    secret: String,
    wallet: String,
}

fn vectors() -> (Vectors, WalletKey) {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/signin.json")).unwrap();
    let secret = hex::decode(&vectors.secret).unwrap();
    let wallet = WalletKey::from_bytes(secret.try_into().unwrap()).unwrap();
    assert_eq!(wallet.address().to_string(), vectors.wallet);
    (vectors, wallet)
}

#[test]
fn signatures_are_those_of_another_implementation() {
    let (vectors, wallet) = vectors();
    let (chain, mut last) = (vectors.chain_id, 0);
    for vector in vectors.requests {
        let request = Request::builder().method(vector.method.as_str());
        let request = request.uri(&vector.target).header("host", &vector.host);
        let mut request = request.body(()).unwrap();
        let body = vector.body.map(|body| hex::decode(body).unwrap());
        let digest = body.as_deref().map(BodyDigest::of);
        let parts = RequestParts::of(&request, body.is_some()).unwrap();
        let nonce = vector.nonce.parse().unwrap();
        let fields = sign(
            &parts,
            digest.as_ref(),
            &wallet,
            chain,
            vector.created,
            &nonce,
        )
        .unwrap();
        assert_eq!(fields.signature_input, vector.signature_input);
        assert_eq!(fields.signature, vector.signature);
        let digest_field = fields
            .content_digest
            .as_ref()
            .map(|field| field.to_str().unwrap());
        assert_eq!(digest_field, vector.content_digest.as_deref());

        fields.put_into(request.headers_mut());
        let parts = RequestParts::of(&request, body.is_some()).unwrap();
        let config = VerifierConfig::new(chain, [parts.authority.clone()]);
        let verified = Verifier::new(config)
            .verify(&parts, vector.created)
            .unwrap()
            .unwrap();
        assert_eq!(
            (verified.wallet, verified.digest),
            (wallet.address(), digest)
        );
        last = vector.created;
    }
    assert_eq!(last, 1_800_000_004, "all were there");
}

#[test]
fn wallets_of_sites_are_those_of_another_implementation() {
    let (vectors, person) = vectors();
    assert_eq!(vectors.sites.len(), 4);
    for vector in vectors.sites {
        let upper = vector.site.to_ascii_uppercase().replace("0X", "0x") + ".";
        let site = site_wallet(&person, &upper.parse().unwrap());
        assert_eq!(hex::encode(site.to_bytes().as_slice()), vector.secret);
        assert_eq!(site.address().to_string(), vector.wallet);
    }
}
