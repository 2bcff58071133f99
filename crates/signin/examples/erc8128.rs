//! Signs and verifies requests for other programs: one JSON object a line in, one a line out. `tests/interop` holds other
//! implementations against it.
//!
//! ```sh
//! cargo run --release -p conet-signin --example erc8128 <<'END'
//! {"sign":"4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318","chain":1,"now":1800000000,"method":"GET","target":"/","fields":[["host","notes.conet"]]}
//! END
//! ```
//!
//! Without `sign` the request is verified, by one verifier for all lines. `body` is hexadecimal.

use std::error::Error;
use std::io::{BufRead as _, stdin};

use http::Request;
use rand::rngs::OsRng;
use serde::Deserialize;
use serde_json::{Value, json};
use signin::{BodyDigest, Nonce, RequestParts, Verifier, VerifierConfig, sign};
use wallet::WalletKey;

const CHAIN: u64 = 31_337;

#[derive(Deserialize)]
struct Line {
    sign: Option<String>,
    #[serde(default = "chain")]
    chain: u64,
    now: u64,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<String>,
}

fn chain() -> u64 {
    CHAIN
}

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["notes.conet".parse()?, "notes.conet:8080".parse()?];
    let verifier = Verifier::new(VerifierConfig::new(CHAIN, names));
    for line in stdin().lock().lines() {
        let answer = answer(&verifier, serde_json::from_str(&line?)?);
        println!(
            "{}",
            answer.unwrap_or_else(|error| json!({ "error": error.to_string() }))
        );
    }
    Ok(())
}

fn answer(verifier: &Verifier, line: Line) -> Result<Value, Box<dyn Error>> {
    let mut request = Request::builder()
        .method(line.method.as_str())
        .uri(&line.target);
    for (name, value) in &line.fields {
        request = request.header(name, value);
    }
    let request = request.body(())?;
    let body = line.body.map(hex::decode).transpose()?;
    let digest = body.as_deref().map(BodyDigest::of);
    let parts = RequestParts::of(&request, body.is_some())?;
    let Some(secret) = line.sign else {
        let verified = verifier
            .verify(&parts, line.now)?
            .ok_or("nobody has signed")?;
        if verified.digest != digest {
            return Err("the body is not the one that was signed".into());
        }
        return Ok(json!({ "wallet": verified.wallet }));
    };
    let secret = hex::decode(secret)?.try_into();
    let wallet = WalletKey::from_bytes(secret.map_err(|_| "a secret has 32 bytes")?)?;
    let nonce = Nonce::generate(&mut OsRng);
    let signed = sign(
        &parts,
        digest.as_ref(),
        &wallet,
        line.chain,
        line.now,
        &nonce,
    )?;
    let mut fields = http::HeaderMap::new();
    signed.put_into(&mut fields);
    let fields = fields
        .iter()
        .map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
    Ok(json!({ "fields": fields.collect::<Result<Vec<_>, http::header::ToStrError>>()? }))
}
