use super::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

const NOW: u64 = 1_800_000_000_000;

/// The bytes of a handshake's payload of another version, with further fields as they would be.
fn payload_of_version(version: u32, session: bool) -> Vec<u8> {
    let mut e = writer(64);
    written((|| {
        e.array(if session { 6 } else { 3 })?.u32(version)?.u64(0)?;
        if session {
            e.bytes(&[9; SESSION_ID_BYTES])?.u32(u32::MAX)?.u64(NOW)?;
        }
        e.bytes(b"blur")?;
        Ok(())
    })());
    e.into_writer()
}

fn pair() -> (ClientSession, NodeSession) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let secret = [7; 32];
    let public = crate::link::public_key(&secret);
    let node = NodeId::from_bytes([5; 20]);
    let (client, body) = ClientHandshake::start(&node, &public, 3, &mut rng).unwrap();
    let (session, response) = NodeSession::accept(&node, &secret, 5, &body, NOW, &mut rng).unwrap();
    let client = client.finish(&response, NOW).unwrap();
    assert_eq!(
        (client.features, session.features, client.node_time_ms),
        (5, 3, NOW)
    );
    (client, session)
}

#[test]
fn exchange_and_its_items_open_once_each_at_their_place() {
    let (mut client, node) = pair();
    let (id, mut body) = client.seal(b"question").unwrap();
    let (at_node, frame) = node.open(&mut body).unwrap();
    assert_eq!((at_node, &*frame), (id, &b"question"[..]));
    let mut answers: Vec<Vec<u8>> = (0..3u8)
        .map(|i| {
            let mut out = vec![i];
            node.seal(at_node, u64::from(i), &mut out, 0);
            out
        })
        .collect();
    assert!(client.open(id, 1, &mut answers[0].clone()).is_err());
    for (i, sealed) in answers.iter_mut().enumerate() {
        assert_eq!(client.open(id, i as u64, sealed).unwrap(), &[i as u8]);
    }
}

/// The tag covers session and counter also where key and nonce alone would tell two exchanges apart.
#[test]
fn exchange_and_answer_are_sealed_over_session_and_counter_as_the_wire_format_says() {
    let (mut client, node) = pair();
    client.next = 0x01_0203;
    let (id, body) = client.seal(b"question").unwrap();
    assert_eq!(body.len(), b"question".len() + EXCHANGE_OVERHEAD_BYTES);
    let (head, sealed) = body.split_at(SESSION_ID_BYTES + 8);
    assert_eq!(head, [&node.id[..], &[0, 0, 0, 0, 0, 1, 2, 3]].concat());
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
    let opened = node
        .up
        .open(nonce, head, &mut sealed.to_vec())
        .unwrap()
        .len();
    assert_eq!(opened, b"question".len());
    assert!(node.up.open(nonce, &[], &mut sealed.to_vec()).is_err());

    let mut out = b"answer".to_vec();
    node.seal(id, 0x04_0506, &mut out, 0);
    let nonce = [0, 0, 0, 1, 2, 3, 0, 0, 0, 4, 5, 6];
    assert_eq!(client.down.open(nonce, head, &mut out).unwrap(), b"answer");
}

#[test]
fn items_beyond_the_last_never_take_the_nonce_of_the_first() {
    let last = item_nonce(1, MAX_ITEMS);
    assert_eq!(last[6..], [0xff; 6]);
    assert_eq!(item_nonce(1, MAX_ITEMS + 1), last);
}

/// A handshake has no size class: only chance keeps its length from being a mark.
#[test]
fn handshakes_have_many_lengths_in_both_directions() {
    let (node, secret) = (NodeId::from_bytes([5; 20]), [7; 32]);
    let public = crate::link::public_key(&secret);
    let mut lengths = [std::collections::HashSet::new(), Default::default()];
    for seed in 0..100 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (_, body) = ClientHandshake::start(&node, &public, 0, &mut rng).unwrap();
        let accepted = NodeSession::accept(&node, &secret, 0, &body, NOW, &mut rng);
        lengths[0].insert(body.len());
        lengths[1].insert(accepted.unwrap().1.len());
    }
    assert!(lengths.iter().all(|met| met.len() > 50));
}

#[test]
fn answer_to_one_exchange_does_not_open_as_another() {
    let (mut client, node) = pair();
    let (first, mut body) = client.seal(b"1").unwrap();
    let (second, _) = client.seal(b"2").unwrap();
    let (at_node, _) = node.open(&mut body).unwrap();
    let mut out = b"answer".to_vec();
    node.seal(at_node, 0, &mut out, 0);
    assert!(client.open(second, 0, &mut out.clone()).is_err());
    assert!(client.open(first, 0, &mut out).is_ok());
}

#[test]
fn altered_exchange_is_refused_at_every_byte() {
    let (mut client, node) = pair();
    let (_, body) = client.seal(b"question").unwrap();
    for i in 0..body.len() {
        let mut bad = body.clone();
        bad[i] ^= 1;
        assert!(node.open(&mut bad).is_err(), "byte {i}");
    }
}

#[test]
fn handshake_for_another_node_or_key_or_garbage_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let public = crate::link::public_key(&[7; 32]);
    let node = NodeId::from_bytes([5; 20]);
    let (_, body) = ClientHandshake::start(&node, &public, 0, &mut rng).unwrap();
    assert!(NodeSession::accept(&node, &[7; 32], 0, &body, NOW, &mut rng).is_ok());
    assert!(
        NodeSession::accept(
            &NodeId::from_bytes([6; 20]),
            &[7; 32],
            0,
            &body,
            NOW,
            &mut rng
        )
        .is_err()
    );
    assert!(NodeSession::accept(&node, &[8; 32], 0, &body, NOW, &mut rng).is_err());
    for n in 0..200 {
        assert!(NodeSession::accept(&node, &[7; 32], 0, &vec![n as u8; n], NOW, &mut rng).is_err());
    }
}

#[test]
fn response_from_someone_else_does_not_finish_a_handshake() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let node = NodeId::from_bytes([5; 20]);
    let (client, body) =
        ClientHandshake::start(&node, &crate::link::public_key(&[7; 32]), 0, &mut rng).unwrap();
    let (_, mut response) = NodeSession::accept(&node, &[7; 32], 0, &body, NOW, &mut rng).unwrap();
    let last = response.len() - 1;
    response[last] ^= 1;
    assert!(matches!(
        client.finish(&response, NOW),
        Err(SessionError::Handshake)
    ));
}
/// A relay of handshakes can't talk two ends down to a version that one of them has given up: the version is
/// inside what is authenticated.
#[test]
fn handshake_of_another_version_is_refused_by_both_sides() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let (node, secret) = (NodeId::from_bytes([5; 20]), [7; 32]);
    let public = crate::link::public_key(&secret);
    let builder = || snow::Builder::new(params(PATTERN_NK).unwrap());
    for version in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION, PROTOCOL_VERSION + 1] {
        let is_ours = version == PROTOCOL_VERSION;
        let prologue = prologue(&node);
        let client = builder().prologue(&prologue).unwrap();
        let client = client.remote_public_key(&public).unwrap();
        let mut client = client.build_initiator().unwrap();
        let mut message = vec![0; MAX_HANDSHAKE_BYTES];
        let payload = payload_of_version(version, false);
        let n = client.write_message(&payload, &mut message).unwrap();
        let body = [&[0; SESSION_ID_BYTES], &message[..n]].concat();
        let accepted = NodeSession::accept(&node, &secret, 0, &body, NOW, &mut rng);
        match accepted {
            Ok(_) => assert!(is_ours),
            Err(SessionError::Payload(CodecError::Unsupported { value, .. })) => {
                assert!(!is_ours && value == u64::from(version));
            }
            Err(other) => panic!("{other}"),
        }

        let (handshake, body) = ClientHandshake::start(&node, &public, 0, &mut rng).unwrap();
        let server = builder().prologue(&prologue).unwrap();
        let server = server.local_private_key(&secret).unwrap();
        let mut server = server.build_responder().unwrap();
        let mut read = vec![0; MAX_HANDSHAKE_BYTES];
        server
            .read_message(&body[SESSION_ID_BYTES..], &mut read)
            .unwrap();
        let payload = payload_of_version(version, true);
        let n = server.write_message(&payload, &mut read).unwrap();
        match handshake.finish(&read[..n], NOW) {
            Ok(session) => {
                assert!(is_ours);
                let life_ms = u64::from(MAX_LIFETIME_S) * 1000;
                assert_eq!(session.expires_ms, NOW + life_ms, "136 years were claimed");
            }
            Err(SessionError::Payload(CodecError::Unsupported { value, .. })) => {
                assert!(!is_ours && value == u64::from(version));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn session_ends_when_its_key_has_sealed_enough() {
    let (mut client, node) = pair();
    client.next = MAX_EXCHANGES - 1;
    let (last, mut body) = client.seal(b"last").unwrap();
    assert_eq!(last.counter(), MAX_EXCHANGES - 1);
    assert!(node.open(&mut body).is_ok());
    assert!(matches!(client.seal(b"more"), Err(SessionError::UsedUp)));
    // One that goes on all the same is refused before its key is used.
    client.next = 0;
    let (_, mut body) = client.seal(b"x").unwrap();
    body[SESSION_ID_BYTES..SESSION_ID_BYTES + 8].copy_from_slice(&MAX_EXCHANGES.to_be_bytes());
    assert!(matches!(node.open(&mut body), Err(SessionError::UsedUp)));
}

#[test]
fn exchange_of_one_session_does_not_open_in_another() {
    let (mut client, node) = pair();
    let (_, mut body) = client.seal(b"question").unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let public = crate::link::public_key(&[7; 32]);
    let id = NodeId::from_bytes([5; 20]);
    let (_, hello) = ClientHandshake::start(&id, &public, 0, &mut rng).unwrap();
    let (other, _) = NodeSession::accept(&id, &[7; 32], 0, &hello, NOW, &mut rng).unwrap();
    assert!(matches!(
        other.open(&mut body.clone()),
        Err(SessionError::Forged)
    ));
    body[..SESSION_ID_BYTES].copy_from_slice(other.id());
    assert!(matches!(other.open(&mut body), Err(SessionError::Forged)));
    assert_eq!(session_id(&body), Some(other.id()));
    assert_eq!(node.expires_ms, NOW + u64::from(MAX_LIFETIME_S) * 1000);
    assert!(session_id(&body[..SESSION_ID_BYTES - 1]).is_none());
}

#[test]
fn body_longer_than_any_handshake_is_refused_by_its_length() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let node = NodeId::from_bytes([5; 20]);
    let longest = SESSION_ID_BYTES + MAX_HANDSHAKE_BYTES;
    let tried = [
        (longest, false),
        (longest + 1, true),
        (SESSION_ID_BYTES - 1, true),
    ];
    for (length, by_length) in tried {
        let refused = NodeSession::accept(&node, &[7; 32], 0, &vec![1; length], NOW, &mut rng);
        let error = refused.unwrap_err();
        assert_eq!(matches!(error, SessionError::Length), by_length, "{length}");
    }
}
