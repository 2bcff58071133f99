//! The contracts' own test vectors (`contracts/test/vectors/registry.json`), made without this crate.

#![expect(
    clippy::unwrap_used,
    reason = "a test that fails here has found something"
)]

use ledger::{
    NodeStatement, RouteBatch, RouteRecord, SignedRoute, batch_leaf, clear_digest, node_digest,
    proof_holds, route_digest,
};
use serde_json::Value;
use wallet::{Fingerprint, KeyId, WalletAddress, WalletSignature};

const CHAIN: u64 = 31_337;

fn vectors() -> Value {
    let json = include_str!("../../../contracts/test/vectors/registry.json");
    serde_json::from_str(json).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn word(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn wallet(value: &Value) -> WalletAddress {
    WalletAddress::from_bytes(bytes(value).try_into().unwrap())
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(read).collect()
}

fn route(value: &Value) -> RouteRecord {
    RouteRecord {
        wallet: wallet(&value["wallet"]),
        fingerprint: Fingerprint::from_slice(&bytes(&value["fingerprint"])).unwrap(),
        key_ids: list(&value["keyIds"], |id| {
            KeyId::from_bytes(bytes(id).try_into().unwrap())
        }),
        mailboxes: list(&value["mailboxes"], wallet),
        sequence: number(&value["sequence"]),
        expiry_s: number(&value["expiry"]),
    }
}

#[test]
fn digests_and_leaves_are_those_of_the_contracts() {
    let vectors = vectors();
    let registry = wallet(&vectors["routeRegistry"]);
    for vector in vectors["routes"].as_array().unwrap() {
        let route = route(vector);
        assert_eq!(
            route_digest(&route, CHAIN, registry),
            word(&vector["digest"])
        );
        assert_eq!(batch_leaf(&route), word(&vector["leaf"]));
    }

    let clear = &vectors["clear"];
    let digest = clear_digest(
        wallet(&clear["wallet"]),
        number(&clear["sequence"]),
        number(&clear["deadline"]),
        CHAIN,
        registry,
    );
    assert_eq!(digest, word(&clear["digest"]));

    let node = &vectors["node"];
    let statement = NodeStatement {
        operator: wallet(&node["operator"]),
        transport_key: word(&node["transportKey"]),
        certificate: bytes(&node["certificate"]),
        endpoint: node["endpoint"].as_str().unwrap().to_owned(),
        profile: node["profile"].as_str().unwrap().to_owned(),
        nonce: number(&node["nonce"]),
        deadline_s: number(&node["deadline"]),
    };
    let digest = node_digest(&statement, CHAIN, wallet(&vectors["nodeRegistry"]));
    assert_eq!(digest, word(&node["digest"]));
}

#[test]
fn roots_and_proofs_are_those_of_the_contracts() {
    let vectors = vectors();
    let signed = list(&vectors["routes"], |vector| SignedRoute {
        route: route(vector),
        signature: WalletSignature::from_bytes([0; 65]),
    });
    let roots = list(&vectors["roots"], word);
    assert_eq!(roots.len(), signed.len());
    for (index, root) in roots.iter().enumerate() {
        let batch = RouteBatch::new(signed[..=index].to_vec()).unwrap();
        assert_eq!(batch.root(), *root);
    }
    let batch = RouteBatch::new(signed.clone()).unwrap();
    for (index, proof) in list(&vectors["proofs"], |proof| list(proof, word))
        .into_iter()
        .enumerate()
    {
        assert_eq!(batch.proof(index), Some(proof.clone()));
        let leaf = batch_leaf(&signed[index].route);
        assert!(proof_holds(&batch.root(), &leaf, &proof));
    }
}
