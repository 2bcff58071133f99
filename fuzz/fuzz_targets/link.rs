//! Link handshakes; and what a hostile node can say on its own link: any bytes as frames in properly sealed records.
#![no_main]
use bytes::BytesMut;
use protocol::NodeId;
use protocol::frame::{HEADER_BYTES, Header};
use protocol::link::{Handshake, Opener, public_key};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const DIALER: NodeId = NodeId::from_bytes([1; 20]);
const ACCEPTOR: NodeId = NodeId::from_bytes([2; 20]);
const DIALERS_SECRET: [u8; 32] = [3; 32];
const ACCEPTORS_SECRET: [u8; 32] = [4; 32];

/// A link's accepted end and the key that its dialer, who is no program of ours, seals records by.
fn link() -> (Opener, LessSafeKey) {
    let prologue = [&b"conet/link/1"[..], ACCEPTOR.as_bytes()].concat();
    let mut dialer = snow::Builder::new("Noise_IK_25519_AESGCM_SHA256".parse().unwrap())
        .prologue(&prologue)
        .and_then(|builder| builder.local_private_key(&DIALERS_SECRET))
        .unwrap();
    let theirs = public_key(&ACCEPTORS_SECRET);
    dialer = dialer.remote_public_key(&theirs).unwrap();
    let mut dialer = dialer.build_initiator().unwrap();
    let mut message = [0; 512];
    // Version 1, no features, the own address.
    let payload = [&[0x83, 1, 0, 0x54][..], DIALER.as_bytes()].concat();
    let length = dialer.write_message(&payload, &mut message).unwrap();
    let (peer, answer, _, opener) =
        Handshake::accept(ACCEPTOR, &ACCEPTORS_SECRET, 0, &message[..length]).unwrap();
    assert_eq!((peer.node, peer.transport_key), (DIALER, public_key(&DIALERS_SECRET)));
    dialer.read_message(&answer, &mut [0; 512]).unwrap();
    let (up, _) = dialer.dangerously_get_raw_split();
    (opener, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &up).unwrap()))
}

/// Seals bytes into records of at most so many each (`docs/wire-format.md`, 7).
fn records(key: &LessSafeKey, clear: &[u8], record_bytes: usize) -> BytesMut {
    let mut wire = BytesMut::new();
    for (counter, piece) in clear.chunks(record_bytes).enumerate() {
        let length = (piece.len() as u32 + 16).to_be_bytes();
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(counter as u64).to_be_bytes());
        let mut sealed = piece.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(length), &mut sealed).unwrap();
        wire.extend_from_slice(&length);
        wire.extend_from_slice(&sealed);
    }
    wire
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Handshake::accept(ACCEPTOR, &ACCEPTORS_SECRET, 0, bytes);
    let _ = protocol::frame::split(bytes);
    let (mut opener, key) = link();
    let _ = link().0.feed(&mut BytesMut::from(bytes));

    let Some((size, clear)) = bytes.split_first() else { return };
    let mut wire = records(&key, clear, usize::from(*size) * 16 + 1);
    let mut rest = clear;
    loop {
        match opener.next_of(&mut wire) {
            Ok(Some(frame)) => {
                let header = Header::decode(rest).expect("a frame has a header");
                assert_eq!(frame.header, header);
                let (now, later) = rest.split_at(HEADER_BYTES + header.region_bytes());
                assert_eq!(frame.payload, now[HEADER_BYTES..][..header.payload_bytes as usize]);
                rest = later;
            }
            Ok(None) => {
                let whole = Header::decode(rest).map(|header| HEADER_BYTES + header.region_bytes());
                assert!(rest.len() < HEADER_BYTES || whole.is_ok_and(|whole| rest.len() < whole), "a whole frame is held back");
                break;
            }
            Err(error) => {
                assert!(Header::decode(rest).is_err(), "{error}");
                break;
            }
        }
    }
});
