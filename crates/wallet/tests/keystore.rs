//! Keystores: the public vectors, our own, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::{Value, json};
use wallet::WalletKey;
use wallet::keystore::{KeystoreError, MAX_KEYSTORE_BYTES, ScryptCost, decrypt, encrypt};

/// From go-ethereum (those of the Web3 Secret Storage definition among them) and ethers.
const VECTORS: &str = include_str!("vectors/keystore-v3.json");

#[derive(Deserialize)]
struct Vector {
    name: String,
    password: String,
    secret: String,
    keystore: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(VECTORS).unwrap()
}

/// A keystore that costs nothing to try, its JSON changed by `change`.
fn cheap(change: impl FnOnce(&mut Value)) -> String {
    let vector = vectors()
        .into_iter()
        .find(|vector| vector.name == "ethers life")
        .unwrap();
    let mut json: Value = serde_json::from_str(&vector.keystore).unwrap();
    change(&mut json);
    json.to_string()
}

#[test]
fn keystore_of_each_public_vector_opens() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let key = decrypt(&vector.keystore, &vector.password)
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(
            hex::encode(key.to_bytes().as_slice()),
            vector.secret,
            "{}",
            vector.name
        );
    }
}

#[test]
fn keystore_with_the_wrong_password_says_so() {
    let error = decrypt(&cheap(|_| {}), "bar").unwrap_err();
    assert!(matches!(error, KeystoreError::WrongPassword));
}

#[test]
fn keystore_of_either_cost_opens_again() {
    let mut rng = StdRng::seed_from_u64(4);
    let key = WalletKey::generate(&mut rng);
    for cost in [ScryptCost::Standard, ScryptCost::Light] {
        for password in ["", "p\u{e4}ssword"] {
            let json = encrypt(&key, password, cost, &mut rng).unwrap();
            let opened = decrypt(&json, password).unwrap();
            assert_eq!(opened.to_bytes(), key.to_bytes());
        }
    }
}

#[test]
fn keystore_is_written_as_other_programs_read_it() {
    let mut rng = StdRng::seed_from_u64(4);
    let key = WalletKey::generate(&mut rng);
    let json = encrypt(&key, "x", ScryptCost::Standard, &mut rng).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], 3);
    assert_eq!(json["address"], hex::encode(key.address().as_bytes()));
    assert_eq!(json["id"].as_str().unwrap().len(), 36);
    let crypto = &json["crypto"];
    assert_eq!(crypto["cipher"], "aes-128-ctr");
    assert_eq!(crypto["kdf"], "scrypt");
    assert_eq!(crypto["ciphertext"].as_str().unwrap().len(), 64);
    let params = &crypto["kdfparams"];
    assert_eq!(
        (&params["n"], &params["r"], &params["p"], &params["dklen"]),
        (&json!(262_144), &json!(8), &json!(1), &json!(32))
    );
    let again = encrypt(&key, "x", ScryptCost::Light, &mut rng).unwrap();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_ne!(again["crypto"]["cipherparams"], crypto["cipherparams"]);
    assert_ne!(again["crypto"]["kdfparams"]["salt"], params["salt"]);
    assert_ne!(again["id"], json["id"]);
}

#[test]
fn keystore_whose_derivation_costs_too_much_is_refused_at_once() {
    let scrypt = [
        json!({"n": 1_u64 << 40}),
        json!({"n": 1_u64 << 63}),
        json!({"r": 1 << 20}),
        json!({"p": u32::MAX}),
        json!({"n": 1 << 20, "r": 8}),
    ];
    for params in scrypt {
        let json = cheap(|json| {
            for (name, value) in params.as_object().unwrap() {
                json["Crypto"]["kdfparams"][name] = value.clone();
            }
        });
        let error = decrypt(&json, "foo").unwrap_err();
        assert!(
            matches!(error, KeystoreError::TooCostly),
            "{params}: {error}"
        );
    }
    let json = cheap(|json| {
        json["Crypto"]["kdf"] = json!("pbkdf2");
        json["Crypto"]["kdfparams"] =
            json!({"c": u32::MAX, "dklen": 32, "prf": "hmac-sha256", "salt": "00"});
    });
    let error = decrypt(&json, "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::TooCostly));
}

#[test]
fn keystore_with_invalid_parameters_is_refused() {
    let changes: [fn(&mut Value); 7] = [
        |json| json["Crypto"]["kdfparams"]["n"] = json!(1000),
        |json| json["Crypto"]["kdfparams"]["n"] = json!(0),
        |json| json["Crypto"]["kdfparams"]["r"] = json!(0),
        |json| json["Crypto"]["kdfparams"]["dklen"] = json!(16),
        |json| json["Crypto"]["kdfparams"]["dklen"] = json!(u32::MAX),
        |json| json["Crypto"]["cipherparams"]["iv"] = json!("00"),
        |json| json["Crypto"]["ciphertext"] = json!("00".repeat(33)),
    ];
    for change in changes {
        let json = cheap(change);
        let error = decrypt(&json, "foo").unwrap_err();
        assert!(
            matches!(error, KeystoreError::InvalidParameter(_)),
            "{json}: {error}"
        );
    }
}

#[test]
fn keystore_of_another_version_cipher_or_derivation_is_refused() {
    let error = decrypt(&cheap(|json| json["version"] = json!(1)), "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::UnknownVersion(1)));
    let other = cheap(|json| json["Crypto"]["cipher"] = json!("aes-128-cbc"));
    let error = decrypt(&other, "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::Unsupported(_)));
    let other = cheap(|json| json["Crypto"]["kdf"] = json!("argon2"));
    let error = decrypt(&other, "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::Malformed(_)));
    let long = " ".repeat(MAX_KEYSTORE_BYTES + 1);
    let error = decrypt(&long, "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::TooLarge));
}

#[test]
fn keystore_that_names_another_address_is_refused() {
    let json = cheap(|json| json["address"] = json!("00".repeat(20)));
    let error = decrypt(&json, "foo").unwrap_err();
    assert!(matches!(error, KeystoreError::WrongAddress { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keystore_parser_survives_any_text(text in ".{0,300}") {
        prop_assert!(decrypt(&text, "foo").is_err());
    }

    #[test]
    fn keystore_with_a_changed_byte_never_gives_another_key(at: prop::sample::Index, byte in 0x20_u8..0x7f) {
        let original = cheap(|_| {});
        let mut changed = original.clone().into_bytes();
        let at = at.index(changed.len());
        // A digit more in `n` may cost a second; everything else is tried.
        prop_assume!(!byte.is_ascii_digit());
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(key) = decrypt(&changed, "foo") {
            prop_assert_eq!(key.to_bytes(), decrypt(&original, "foo").unwrap().to_bytes());
        }
    }
}
