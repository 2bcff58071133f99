//! EIP-712, against the vectors of the EIP and of ethers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use wallet::typed_data::{Domain, StructHash, address_word, digest};
use wallet::{WalletAddress, WalletKey, WalletSignature};

/// From the test cases of ethers, the example of EIP-712 among them.
const VECTORS: &str = include_str!("vectors/eip712.json");

/// The type string of `name`: itself, then all types that it refers to, sorted.
fn type_string(types: &Value, name: &str) -> String {
    let mut referred = std::collections::BTreeSet::new();
    let mut todo = vec![name.to_owned()];
    while let Some(next) = todo.pop() {
        for member in types[&next].as_array().unwrap() {
            let base = member["type"].as_str().unwrap();
            let base = base.split('[').next().unwrap();
            if types.get(base).is_some() && base != name && referred.insert(base.to_owned()) {
                todo.push(base.to_owned());
            }
        }
    }
    std::iter::once(name.to_owned())
        .chain(referred)
        .map(|name| {
            let members: Vec<String> = types[&name]
                .as_array()
                .unwrap()
                .iter()
                .map(|member| {
                    let member_type = member["type"].as_str().unwrap();
                    format!("{member_type} {}", member["name"].as_str().unwrap())
                })
                .collect();
            format!("{name}({})", members.join(","))
        })
        .collect()
}

fn struct_hash(types: &Value, name: &str, data: &Value) -> StructHash {
    let members = types[name].as_array().unwrap();
    let start = StructHash::new(&type_string(types, name));
    members.iter().fold(start, |hash, member| {
        let value = &data[member["name"].as_str().unwrap()];
        append(hash, types, member["type"].as_str().unwrap(), value)
    })
}

fn append(hash: StructHash, types: &Value, member_type: &str, value: &Value) -> StructHash {
    if let Some((element, _)) = member_type.rsplit_once('[') {
        let words = value.as_array().unwrap().iter();
        return hash.array(words.map(|value| word(types, element, value)));
    }
    match member_type {
        "string" => hash.string(value.as_str().unwrap()),
        "bytes" => hash.bytes(&bytes(value)),
        "bool" => hash.boolean(value.as_bool().unwrap()),
        "address" => hash.address(&value.as_str().unwrap().parse().unwrap()),
        "bytes20" => hash.fixed_bytes::<20>(&bytes(value).try_into().unwrap()),
        "bytes8" => hash.fixed_bytes::<8>(&bytes(value).try_into().unwrap()),
        "bytes6" => hash.fixed_bytes::<6>(&bytes(value).try_into().unwrap()),
        "uint32" | "uint56" => hash.uint64(integer(value).try_into().unwrap()),
        "uint80" | "int16" => hash.uint256(&integer_word(value)),
        name => hash.structure(&struct_hash(types, name, value)),
    }
}

/// The word of an array's element.
fn word(types: &Value, element: &str, value: &Value) -> [u8; 32] {
    // What one word is appended as, is the word: hash an array of one and compare is not possible,
    // so the elements are encoded here, by the plainest reading of the EIP.
    use sha3::{Digest, Keccak256};
    if let Some((inner, _)) = element.rsplit_once('[') {
        let mut hasher = Keccak256::new();
        for value in value.as_array().unwrap() {
            hasher.update(word(types, inner, value));
        }
        return hasher.finalize().into();
    }
    match element {
        "bytes" => Keccak256::digest(bytes(value)).into(),
        "bool" => integer_word(&Value::from(u8::from(value.as_bool().unwrap()))),
        "int16" => integer_word(value),
        "address" => address_word(&value.as_str().unwrap().parse().unwrap()),
        name => struct_hash(types, name, value).finish(),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_i64().unwrap().into(),
    }
}

/// Two's complement in 32 bytes.
fn integer_word(value: &Value) -> [u8; 32] {
    let number = integer(value);
    let mut word = [if number < 0 { 0xff } else { 0 }; 32];
    word[16..].copy_from_slice(&number.to_be_bytes());
    word
}

fn domain(value: &Value) -> Domain {
    Domain {
        name: value["name"].as_str().unwrap().to_owned(),
        version: value["version"].as_str().unwrap().to_owned(),
        chain_id: value.get("chainId").map(|id| id.as_u64().unwrap()),
        verifying_contract: value
            .get("verifyingContract")
            .map(|address| address.as_str().unwrap().parse().unwrap()),
    }
}

#[test]
fn digest_of_each_public_vector_is_as_published() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 26);
    for vector in vectors {
        let primary = vector["primaryType"].as_str().unwrap();
        let message = struct_hash(&vector["types"], primary, &vector["data"]);
        let digest = digest(&domain(&vector["domain"]), &message);
        assert_eq!(
            hex::encode(digest),
            vector["digest"].as_str().unwrap()[2..],
            "{}",
            vector["name"]
        );
        let (Some(secret), Some(signature)) = (vector.get("privateKey"), vector.get("signature"))
        else {
            continue;
        };
        let key = WalletKey::from_bytes(bytes(secret).try_into().unwrap()).unwrap();
        let signature: WalletSignature = signature.as_str().unwrap().parse().unwrap();
        assert_eq!(key.sign_hash(&digest), signature);
        assert_eq!(signature.recover_hash(&digest), Ok(key.address()));
    }
}

#[test]
fn mail_example_of_the_eip_hashes_as_published() {
    const PERSON: &str = "Person(string name,address wallet)";
    let person = |name: &str, wallet: &str| {
        let wallet: WalletAddress = wallet.parse().unwrap();
        StructHash::new(PERSON).string(name).address(&wallet)
    };
    let cow = person("Cow", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");
    let bob = person("Bob", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB");
    let mail = StructHash::new(&format!(
        "Mail(Person from,Person to,string contents){PERSON}"
    ))
    .structure(&cow)
    .structure(&bob)
    .string("Hello, Bob!");
    let domain = Domain {
        chain_id: Some(1),
        verifying_contract: Some(WalletAddress::from_bytes([0xcc; 20])),
        ..Domain::new("Ether Mail", "1")
    };
    assert_eq!(
        hex::encode(domain.separator()),
        "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    );
    assert_eq!(
        hex::encode(mail.finish()),
        "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
    );
    assert_eq!(
        hex::encode(digest(&domain, &mail)),
        "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    );
}

#[test]
fn digest_differs_with_every_part_of_the_domain() {
    let message = StructHash::new("Note(uint64 n)").uint64(1);
    let base = Domain::new("CONET", "1");
    let others = [
        Domain::new("conet", "1"),
        Domain::new("CONET", "2"),
        Domain {
            chain_id: Some(1),
            ..base.clone()
        },
        Domain {
            verifying_contract: Some(WalletAddress::from_bytes([0; 20])),
            ..base.clone()
        },
    ];
    for other in others {
        assert_ne!(digest(&other, &message), digest(&base, &message));
    }
}
