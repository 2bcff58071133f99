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
fn handshake_message_longer_than_any_is_refused_by_its_length() {
    for (length, by_length) in [
        (MAX_HANDSHAKE_BYTES, false),
        (MAX_HANDSHAKE_BYTES + 1, true),
    ] {
        let message = vec![1; length];
        let refused = Handshake::accept(ACCEPTOR, &[12; 32], 0, &message).map(|_| ());
        let error = refused.unwrap_err();
        assert_eq!(matches!(error, SessionError::Length), by_length, "{length}");
    }
}

/// As for sessions: the version is inside what is authenticated, and neither end goes along with another.
#[test]
fn handshake_of_another_version_is_refused_by_both_ends() {
    let (a, b) = ([11; 32], [12; 32]);
    let of_version = |version: u32, from: &NodeId| {
        let mut e = writer(64);
        written((|| {
            e.array(3)?.u32(version)?.u64(0)?.bytes(from.as_bytes())?;
            Ok(())
        })());
        e.into_writer()
    };
    for version in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION, PROTOCOL_VERSION + 1] {
        let is_ours = version == PROTOCOL_VERSION;
        let told = |error: SessionError| {
            matches!(error, SessionError::Payload(CodecError::Unsupported { value, .. })
                if value == u64::from(version))
        };
        let prologue = prologue(&ACCEPTOR);
        let builder = || snow::Builder::new(params(PATTERN_IK).unwrap()).prologue(&prologue);
        let noise = builder().unwrap().local_private_key(&a).unwrap();
        let noise = noise
            .remote_public_key(&public_key(&b))
            .unwrap()
            .build_initiator();
        let mut message = [0; MAX_HANDSHAKE_BYTES];
        let payload = of_version(version, &DIALER);
        let n = noise
            .unwrap()
            .write_message(&payload, &mut message)
            .unwrap();
        match Handshake::accept(ACCEPTOR, &b, 0, &message[..n]) {
            Ok(_) => assert!(is_ours),
            Err(error) => assert!(!is_ours && told(error)),
        }

        let (dialing, message) =
            Handshake::dial(DIALER, &a, &ACCEPTOR, &public_key(&b), 0).unwrap();
        let noise = builder().unwrap().local_private_key(&b).unwrap();
        let mut noise = noise.build_responder().unwrap();
        let mut room = [0; MAX_HANDSHAKE_BYTES];
        noise.read_message(&message, &mut room).unwrap();
        let n = noise
            .write_message(&of_version(version, &ACCEPTOR), &mut room)
            .unwrap();
        match dialing.finish(&room[..n]) {
            Ok(_) => assert!(is_ours),
            Err(error) => assert!(!is_ours && told(error)),
        }
    }
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

#[test]
fn record_length_that_none_has_is_refused_before_the_record_is_there() {
    for (length, refused) in [
        (0u32, true),
        (16, true),
        (17, false),
        (65_552, false),
        (65_553, true),
    ] {
        let (_, (_, mut opener)) = pair();
        let mut wire = BytesMut::from(&length.to_be_bytes()[..]);
        let fed = opener.feed(&mut wire);
        assert_eq!(
            fed,
            if refused {
                Err(OpenError::Length(length))
            } else {
                Ok(())
            }
        );
    }
}

/// What a node does with its links: frames of requests that wait in batches, sealed piece by piece as the
/// socket takes them, read one by one from where they came in.
#[test]
fn batches_sealed_piece_by_piece_give_their_frames_back_one_by_one() {
    let ((mut sealer, _), (_, mut opener)) = pair();
    let mut batch = Batch::default();
    let mut wire = BytesMut::new();
    let sizes = [0, 100, 4_096, 5_000, 65_536, 300_000, 9];
    for round in 0..3u64 {
        assert!(batch.is_empty() && batch.wire_bytes() == 0);
        assert!(sealer.seal_next(&mut batch, usize::MAX).is_none());
        for size in sizes {
            let header = Header {
                request: round,
                ..Header::packet(SizeClass::K4, 0)
            };
            assert!(batch.push(header, &vec![round as u8; size]));
            assert!(batch.push(Header::control(Kind::Ping, round), &[]));
        }
        assert!(!batch.push(Header::packet(SizeClass::K4, 0), &vec![0; (1 << 20) + 1]));
        assert!(!batch.is_empty());
        let mut pieces = 0;
        while let Some(records) = sealer.seal_next(&mut batch, 70_000) {
            // One record or two; the last may go beyond what is enough.
            assert!((1..=70_000 + 65_556).contains(&records.len()));
            wire.extend_from_slice(records);
            pieces += 1;
        }
        assert!(pieces > 3);
        assert!(batch.wire_bytes() >= sizes.iter().sum());
        batch.clear();
        for size in sizes {
            let packet = opener.next_of(&mut wire).unwrap().unwrap().detached();
            assert_eq!(
                (packet.header.kind, packet.header.request),
                (Kind::Packet, round)
            );
            assert_eq!(packet.payload, vec![round as u8; size]);
            let ping = opener.next_of(&mut wire).unwrap().unwrap();
            assert_eq!(
                (ping.header, ping.payload.len()),
                (Header::control(Kind::Ping, round), 0)
            );
        }
        assert_eq!(opener.next_of(&mut wire), Ok(None));
        assert!(wire.is_empty());
    }
}

#[test]
fn record_that_is_enough_is_sealed_alone() {
    let ((mut sealer, _), _) = pair();
    let mut batch = Batch::default();
    for _ in 0..4 {
        assert!(batch.push(Header::packet(SizeClass::K64, 0), &[7; 60_000]));
    }
    // A frame of this class is cut: three records and a tail of the fourth frame.
    let record = 4 + 65_536 + 16;
    for _ in 0..2 {
        let sealed = sealer.seal_next(&mut batch, record).unwrap();
        assert_eq!(sealed.len(), record);
    }
    assert_eq!(
        sealer.seal_next(&mut batch, record + 1).unwrap().len(),
        2 * record
    );
    assert_eq!(
        sealer.seal_next(&mut batch, 1).unwrap().len(),
        4 + 4 * 64 + 16
    );
    assert!(sealer.seal_next(&mut batch, 1).is_none());
}

#[test]
fn frames_that_wait_to_be_sealed_are_counted() {
    let ((mut sealer, _), _) = pair();
    assert_eq!(sealer.pending_bytes(), 0);
    assert!(sealer.push(Header::packet(SizeClass::K4, 0), &[7; 60]));
    assert_eq!(sealer.pending_bytes(), 4 + 64 + 4096);
    let mut wire = Vec::new();
    sealer.flush(&mut wire);
    assert_eq!(
        (sealer.pending_bytes(), wire.len()),
        (0, 4 + 64 + 4096 + 16)
    );
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

#[test]
fn payload_is_copied_where_it_is_short_or_fills_less_than_half_of_its_region() {
    for (length, class, is_copied) in [
        (0, SizeClass::K4, true),
        (4_096, SizeClass::K4, true),
        (32_768, SizeClass::K64, true),
        (32_769, SizeClass::K64, false),
        (65_536, SizeClass::K64, false),
        (65_536, SizeClass::K256, true),
        (131_071, SizeClass::K256, true),
        (131_072, SizeClass::K256, false),
        (262_144, SizeClass::K256, false),
    ] {
        let ((mut sealer, _), (_, mut opener)) = pair();
        assert!(sealer.push(Header::packet(class, 0), &vec![7; length]));
        let mut wire = Vec::new();
        sealer.flush(&mut wire);
        let frame = opener.next_of(&mut BytesMut::from(&wire[..]));
        let frame = frame.unwrap().unwrap();
        let memory = frame.payload.as_ptr();
        let kept = frame.detached().payload;
        assert_eq!(kept, vec![7; length]);
        assert_eq!(kept.as_ptr() != memory, is_copied, "{length} of {class:?}");
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
