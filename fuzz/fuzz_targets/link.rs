//! Link handshakes, and frames inside properly sealed records.
#![no_main]
use bytes::BytesMut;
use protocol::NodeId;
use protocol::frame::Header;
use protocol::link::{Handshake, public_key};
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (a, b) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
    let _ = Handshake::accept(b, &[4; 32], 0, bytes);
    let _ = Header::decode(bytes);
    let _ = protocol::frame::split(bytes);
    let Ok((dialing, message)) = Handshake::dial(a, &[3; 32], &b, &public_key(&[4; 32]), 0) else { return };
    let Ok((_, answer, mut sealer, mut opener)) = Handshake::accept(b, &[4; 32], 0, &message) else { return };
    let _ = dialing.finish(&answer);
    let _ = opener.feed(&mut BytesMut::from(bytes));
    let mut out = Vec::new();
    let _ = sealer.push(Header::packet(packet::SizeClass::K4, 0), bytes);
    sealer.flush(&mut out);
});
