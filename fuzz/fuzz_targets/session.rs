//! A node's side of handshakes and exchanges.
#![no_main]
use protocol::NodeId;
use protocol::session::{ClientHandshake, NodeSession};
use rand_chacha::rand_core::SeedableRng as _;
use std::sync::LazyLock;

static NODE: LazyLock<NodeSession> = LazyLock::new(|| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let id = NodeId::from_bytes([2; 20]);
    let (_, body) = ClientHandshake::start(&id, &protocol::link::public_key(&[4; 32]), 0, &mut rng).unwrap();
    NodeSession::accept(&id, &[4; 32], 0, &body, 1, &mut rng).unwrap().0
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
    assert!(NODE.open(&mut bytes.to_vec()).is_err(), "nobody sealed this");
    let _ = NodeSession::accept(&NodeId::from_bytes([2; 20]), &[4; 32], 0, bytes, 1, &mut rng);
});
