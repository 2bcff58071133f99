use super::*;
use crate::frame::{Header, Kind};
use bytes::BytesMut;
use packet::SizeClass;
use proptest::prelude::*;

const DIALER: NodeId = NodeId::from_bytes([1; 20]);
const ACCEPTOR: NodeId = NodeId::from_bytes([2; 20]);

fn pair() -> ((Sealer, Opener), (Sealer, Opener)) {
    let (a, b) = ([11; 32], [12; 32]);
    let (dialing, message) = Handshake::dial(DIALER, &a, &ACCEPTOR, &public_key(&b), 1).unwrap();
    let (peer, answer, s2, o2) = Handshake::accept(ACCEPTOR, &b, 2, &message).unwrap();
    assert_eq!(
        (peer.node, peer.transport_key, peer.features),
        (DIALER, public_key(&a), 1)
    );
    let (peer, s1, o1) = dialing.finish(&answer).unwrap();
    assert_eq!(
        (peer.node, peer.transport_key, peer.features),
        (ACCEPTOR, public_key(&b), 2)
    );
    ((s1, o1), (s2, o2))
}

#[test]
fn handshake_with_another_key_or_node_fails() {
    let (a, b) = ([11; 32], [12; 32]);
    let (_, message) = Handshake::dial(DIALER, &a, &ACCEPTOR, &public_key(&b), 0).unwrap();
    assert!(Handshake::accept(ACCEPTOR, &[13; 32], 0, &message).is_err());
    assert!(Handshake::accept(DIALER, &b, 0, &message).is_err());
    let (dialing, message) = Handshake::dial(DIALER, &a, &ACCEPTOR, &public_key(&b), 0).unwrap();
    let (_, mut answer, ..) = Handshake::accept(ACCEPTOR, &b, 0, &message).unwrap();
    answer[40] ^= 1;
    assert!(dialing.finish(&answer).is_err());
}

#[test]
fn repeated_or_swapped_record_closes_the_link() {
    let ((mut sealer, _), (_, mut opener)) = pair();
    let mut records = Vec::new();
    for i in 0..2 {
        assert!(sealer.push(Header::control(Kind::Ping, i), &[]));
        let mut out = Vec::new();
        sealer.flush(&mut out);
        records.push(out);
    }
    let mut swapped = BytesMut::from(&records[1][..]);
    assert_eq!(opener.feed(&mut swapped), Err(OpenError::Forged));
    let mut twice = BytesMut::from(&[&records[0][..], &records[0][..]].concat()[..]);
    assert_eq!(opener.feed(&mut twice), Err(OpenError::Forged));
}

#[test]
fn record_that_claims_four_gigabytes_is_refused_before_it_is_read() {
    let (_, (_, mut opener)) = pair();
    let mut wire = BytesMut::from(&[0xff; 8][..]);
    assert_eq!(opener.feed(&mut wire), Err(OpenError::Length(u32::MAX)));
}

/// A stream's items wait for their reader: each must cost what it is long, not what came beside it.
#[test]
fn small_payload_does_not_keep_the_record_that_it_came_in() {
    let ((mut sealer, _), (_, mut opener)) = pair();
    for class in [SizeClass::K4, SizeClass::M1] {
        assert!(sealer.push(Header::packet(class, 0), &[7; 100]));
    }
    let mut wire = Vec::new();
    sealer.flush(&mut wire);
    opener.feed(&mut BytesMut::from(&wire[..])).unwrap();
    for _ in 0..2 {
        let payload = opener.next_frame().unwrap().unwrap().payload;
        assert_eq!(payload, &[7; 100][..]);
        let alone = payload
            .try_into_mut()
            .expect("nobody else holds its memory");
        assert!(alone.capacity() < 200, "{}", alone.capacity());
    }
}

proptest! {
    #[test]
    fn frames_cross_in_order_however_the_bytes_are_cut(
        payloads in proptest::collection::vec(0usize..70_000, 1..12),
        cuts in proptest::collection::vec(1usize..9_000, 1..60),
        together in 1usize..6,
    ) {
        let ((mut sealer, _), (_, mut opener)) = pair();
        let mut wire = Vec::new();
        for (i, n) in payloads.iter().enumerate() {
            let header = Header { request: i as u64, ..Header::packet(SizeClass::K4, 0) };
            let fits = sealer.push(header, &vec![i as u8; *n]);
            prop_assert!(fits);
            if i % together == 0 {
                sealer.flush(&mut wire);
            }
        }
        sealer.flush(&mut wire);
        let mut got = Vec::new();
        let mut inbound = BytesMut::new();
        let (mut at, mut cut) = (0, cuts.iter().cycle());
        while at < wire.len() {
            let end = (at + cut.next().unwrap()).min(wire.len());
            inbound.extend_from_slice(&wire[at..end]);
            at = end;
            opener.feed(&mut inbound).unwrap();
            while let Some(frame) = opener.next_frame().unwrap() {
                got.push((frame.header.request, frame.payload.len()));
            }
        }
        let want: Vec<_> = payloads.iter().enumerate().map(|(i, n)| (i as u64, *n)).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn any_bytes_on_a_link_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (_, (_, mut opener)) = pair();
        let _ = opener.feed(&mut BytesMut::from(&bytes[..]));
        let _ = Handshake::accept(ACCEPTOR, &[1; 32], 0, &bytes);
    }
}
