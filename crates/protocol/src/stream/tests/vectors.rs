//! `crates/protocol/tests/vectors/stream.json`: made from fixed secrets by another implementation, which was written from the
//! wire format (`tests/interop/streams.py`).

use std::collections::VecDeque;

use rand::{CryptoRng, Error, RngCore};
use serde_json::Value;

use super::super::keys::{Early, Keys};
use super::super::*;
use crate::NodeId;
use crate::answer::AnswerKey;
use crate::command::{Body, Command, Ties};

const VECTORS: &str = include_str!("../../../tests/vectors/stream.json");
const START_MS: u64 = 1_000_000;

/// Gives what the vectors were made from.
struct Fixed(VecDeque<[u8; 32]>);

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        unreachable!("secrets are asked for as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("secrets are asked for as bytes")
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        to.copy_from_slice(&self.0.pop_front().unwrap());
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Fixed {}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let digits = text.as_bytes().chunks(2);
    let digits = digits.map(|two| std::str::from_utf8(two).unwrap());
    digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn cipher(value: &Value) -> Cipher {
    Cipher::from_byte(value.as_u64().unwrap() as u8).unwrap()
}

/// What an end draws for a circuit.
fn drawn(circuit: &Value, names: &[&str]) -> Fixed {
    Fixed(names.iter().map(|name| array(&circuit[*name])).collect())
}

fn openers(circuit: &Value) -> Fixed {
    drawn(circuit, &["secret", "openerPrivate"])
}

fn accepters(circuit: &Value) -> Fixed {
    drawn(circuit, &["accepterPrivate"])
}

fn command(open: &OpenStream) -> Vec<u8> {
    let ties = &vectors()["ties"];
    let ties = Ties {
        node: NodeId::from_bytes(array(&ties["node"])),
        time_ms: ties["time"].as_u64().unwrap(),
        nonce: array(&ties["nonce"]),
        answer_key: AnswerKey::from_bytes(array(&ties["answerKey"])),
    };
    let body = Body::OpenStream(open.clone());
    Command { ties, body }.encode()
}

/// Checks the command that an opener makes, and reads it as the accepter would.
fn carried(open: &OpenStream, circuit: &Value) -> OpenStream {
    let bytes = bytes(&circuit["command"]);
    assert_eq!(command(open), bytes);
    match Command::decode(&bytes).unwrap().body {
        Body::OpenStream(open) => open,
        other => panic!("{other:?}"),
    }
}

/// Checks the next frame that an end sends.
fn next(stream: &mut Stream, frame: &Value, now_ms: u64) -> BytesMut {
    let mut out = Vec::new();
    assert!(stream.poll_transmit(&mut out, now_ms), "{frame}");
    assert_eq!(out, bytes(&frame["sealed"]), "{frame}");
    out[..].into()
}

/// Opens the stream of a vector at both ends.
fn opened(vector: &Value, purpose: Purpose) -> (Stream, Stream) {
    let circuit = &vector["circuits"][0];
    let (opener, open) = Stream::open(
        purpose,
        cipher(&vector["ciphers"][0]),
        START_MS,
        &mut openers(circuit),
    );
    let open = carried(&open, circuit);
    let there = cipher(&vector["ciphers"][1]);
    let accepter = Stream::accept(&open, there, START_MS, &mut accepters(circuit)).unwrap();
    for end in [&opener, &accepter] {
        assert_eq!(end.id().as_bytes()[..], bytes(&vector["id"]));
    }
    (opener, accepter)
}

#[test]
fn connection_sends_the_frames_of_the_vectors_and_is_resumed_as_they_say() {
    let vector = &vectors()["streams"][0];
    let purpose = Purpose::Connect("example.org:443".parse().unwrap());
    let (mut opener, mut accepter) = opened(vector, purpose);
    let frames = &vector["circuits"][0]["frames"];
    assert!(opener.write("GET / HTTP/1.1\r\n\r\n".into()));
    let frame = next(&mut opener, &frames[0], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    accepter.opened();
    assert!(accepter.write("HTTP/1.1 200 OK\r\n\r\n".into()));
    let frame = next(&mut accepter, &frames[1], START_MS);
    opener.handle_frame(frame, START_MS).unwrap();
    assert!(opener.is_opened());
    opener.finish();
    let frame = next(&mut opener, &frames[2], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    // This one is lost, and the circuit with it.
    next(&mut accepter, &frames[3], START_MS);
    accepter.detach(START_MS);

    let circuit = &vector["circuits"][1];
    let open = opener.resume(START_MS, &mut openers(circuit)).unwrap();
    let open = carried(&open, circuit);
    let mut rng = accepters(circuit);
    accepter.reattach(&open, START_MS, &mut rng).unwrap();
    assert!(accepter.write("rest".into()));
    accepter.finish();
    let frames = &circuit["frames"];
    let frame = next(&mut opener, &frames[0], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    let frame = next(&mut accepter, &frames[1], START_MS);
    opener.handle_frame(frame, START_MS).unwrap();
    let frame = next(&mut opener, &frames[2], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    assert_eq!(opener.end(), Some(End::Finished));
    assert_eq!(accepter.end(), Some(End::Finished));
}

#[test]
fn reset_under_the_cipher_of_the_weaker_end_is_that_of_the_vectors() {
    let vector = &vectors()["streams"][1];
    let (mut opener, mut accepter) = opened(vector, Purpose::Datagrams);
    let frames = &vector["circuits"][0]["frames"];
    let frame = next(&mut accepter, &frames[0], START_MS);
    opener.handle_frame(frame, START_MS).unwrap();
    assert!(opener.write("ping".into()));
    let frame = next(&mut opener, &frames[1], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    accepter.reset(Reset::Busy);
    let frame = next(&mut accepter, &frames[2], START_MS);
    opener.handle_frame(frame, START_MS).unwrap();
    assert_eq!(opener.end(), Some(End::ResetThere(Reset::Busy)));
}

#[test]
fn signs_of_life_are_those_of_the_vectors_and_what_is_unknown_in_a_frame_is_passed_over() {
    let vector = &vectors()["streams"][2];
    let purpose = Purpose::Connect("[2001:db8::1]:80".parse().unwrap());
    let (mut opener, mut accepter) = opened(vector, purpose);
    let frames = &vector["circuits"][0]["frames"];
    assert!(opener.write("x".into()));
    let frame = next(&mut opener, &frames[0], START_MS);
    accepter.handle_frame(frame, START_MS).unwrap();
    let frame = next(&mut accepter, &frames[1], START_MS);
    opener.handle_frame(frame, START_MS).unwrap();
    let later = START_MS + KEEP_ALIVE_MS;
    let frame = next(&mut opener, &frames[2], later);
    accepter.handle_frame(frame, later).unwrap();
    let frame = next(&mut accepter, &frames[3], later);
    opener.handle_frame(frame, later).unwrap();
    // None of ours would send this one.
    let frame = bytes(&frames[4]["sealed"]);
    opener.handle_frame(frame[..].into(), later).unwrap();
    assert_eq!(opener.read(100).unwrap(), "padded");
}

#[test]
fn keys_of_each_phase_and_generation_are_those_of_the_vectors() {
    for vector in vectors()["streams"].as_array().unwrap() {
        let mut former = None;
        for circuit in vector["circuits"].as_array().unwrap() {
            let mut drawn = drawn(circuit, &["secret", "openerPrivate", "accepterPrivate"]);
            let secret = StreamSecret::random(&mut drawn);
            let (ours, theirs) = (Share::random(&mut drawn), Share::random(&mut drawn));
            assert_eq!(ours.public(), array(&circuit["openerShare"]));
            assert_eq!(theirs.public(), array(&circuit["accepterShare"]));
            let early = Early::new(&secret, former.as_ref());
            let mixed = early.mix(&ours, &theirs.public()).unwrap();
            let cipher = Cipher::Aes256Gcm;
            for (mut keys, name) in [
                (early.keys(cipher), "early opener"),
                (mixed.keys(Role::Opener, cipher), "mixed opener"),
                (mixed.keys(Role::Accepter, cipher), "mixed accepter"),
            ] {
                assert_generations(&mut keys, &circuit["keys"][name]);
            }
            former = Some(mixed.resume_secret());
        }
    }
}

fn assert_generations(keys: &mut Keys, expected: &Value) {
    for (generation, key) in (0..).zip(expected.as_array().unwrap()) {
        let first = generation * REKEY_FRAMES;
        let last = first + REKEY_FRAMES - 1;
        for counter in [first, last] {
            keys.at(counter);
            assert_eq!(keys.bytes(), array(key), "{counter}");
        }
    }
}
