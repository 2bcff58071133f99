//! Two ends on a virtual clock.

mod pair;
mod vectors;

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use super::*;
use crate::cbor::{writer, written};
use pair::{Fault, Pair};

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;

fn purpose() -> Purpose {
    Purpose::Connect("example.org:443".parse().unwrap())
}

#[test]
fn bytes_written_at_once_arrive_with_the_command() {
    let mut pair = Pair::calm(1);
    assert!(pair.opener.stream.write("first bytes".into()));
    pair.run_for(pair.latency_ms + 1);
    let accepter = pair.accepter.as_mut().unwrap();
    assert_eq!(accepter.stream.read(100).unwrap(), "first bytes");
    assert!(
        !pair.opener.stream.is_resumable(),
        "no answer can be there yet"
    );
    pair.run_for(pair.latency_ms + ACK_DELAY_MS + 1);
    assert!(pair.opener.stream.is_resumable());
    assert!(pair.opener.stream.is_flushed());
}

#[test]
fn opener_learns_that_the_accepter_has_done_what_was_asked() {
    let mut pair = Pair::calm(2);
    pair.run_for(100);
    assert!(!pair.opener.stream.is_opened());
    pair.accepter.as_mut().unwrap().stream.opened();
    pair.run_for(pair.latency_ms + 1);
    assert!(pair.opener.stream.is_opened());
}

#[test]
fn half_closed_stream_carries_the_other_half_until_that_is_closed_too() {
    let mut pair = Pair::calm(3);
    assert!(pair.opener.stream.write("request".into()));
    pair.opener.stream.finish();
    assert!(!pair.opener.stream.write("more".into()), "it has finished");
    pair.run_for(100);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "request");
    assert!(accepter.is_read_out());
    for _ in 0..50 {
        assert!(
            pair.accepter
                .as_mut()
                .unwrap()
                .stream
                .write("answer".into())
        );
        pair.run_for(HOUR_MS);
        assert_eq!(pair.opener.stream.read(100).unwrap(), "answer");
        assert!(!pair.opener.stream.is_read_out());
    }
    pair.accepter.as_mut().unwrap().stream.finish();
    pair.run_for(100);
    assert!(pair.opener.stream.is_read_out());
    assert_eq!(pair.opener.stream.end(), Some(End::Finished));
    let accepter = &pair.accepter.as_ref().unwrap().stream;
    assert_eq!(accepter.end(), Some(End::Finished));
}

#[test]
fn idle_stream_lives_for_days_by_a_few_signs_of_life() {
    let mut pair = Pair::calm(4);
    pair.run_for(1_000);
    let before = pair.frames;
    pair.run_for(72 * HOUR_MS);
    let frames = pair.frames - before;
    let asked = 72 * HOUR_MS / KEEP_ALIVE_MS;
    assert!((asked..=2 * asked + 2).contains(&frames), "{frames}");
    assert!(pair.opener.stream.write("still there".into()));
    pair.run_for(100);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "still there");
    assert_eq!(pair.circuits, 1);
}

#[test]
fn reset_reaches_the_far_end_with_its_reason_and_what_came_before_can_be_read() {
    let mut pair = Pair::calm(5);
    pair.run_for(100);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert!(accepter.write("last words".into()));
    pair.run_for(100);
    pair.accepter.as_mut().unwrap().stream.reset(Reset::Denied);
    pair.run_for(100);
    let opener = &mut pair.opener.stream;
    assert_eq!(opener.end(), Some(End::ResetThere(Reset::Denied)));
    assert_eq!(opener.read(100).unwrap(), "last words");
    assert_eq!(opener.room(), 0);
    let accepter = &pair.accepter.as_ref().unwrap().stream;
    assert_eq!(accepter.end(), Some(End::ResetHere(Reset::Denied)));
    assert!(accepter.is_silent());
}

#[test]
fn each_reason_keeps_its_number() {
    for byte in 0..=255 {
        let reset = Reset::from_byte(byte);
        let known = Reset::ALL.iter().any(|(number, _)| *number == byte);
        assert_eq!(reset.to_byte() == byte, known, "{byte}");
    }
}

/// What a reader does not read waits at the writer, not at the reader.
#[test]
fn reader_that_stops_holds_no_more_than_its_window() {
    let mut pair = Pair::calm(6);
    pair.run_for(100);
    let mut written = 0;
    for _ in 0..1_000 {
        while pair.opener.stream.room() > 0 {
            let some = pair.opener.stream.room().min(10_000);
            assert!(pair.opener.stream.write(vec![7; some].into()));
            written += some as u64;
        }
        pair.run_for(50);
    }
    assert!(written <= 2 * WINDOW_BYTES, "{written}");
    assert!(!pair.opener.stream.write("x".into()));
    let mut read = 0;
    while let Some(bytes) = pair.accepter.as_mut().unwrap().stream.read(usize::MAX) {
        read += bytes.len() as u64;
        pair.run_for(10);
    }
    assert_eq!(read, written);
}

#[test]
fn stream_outlives_a_circuit_that_died_without_a_word() {
    let mut pair = Pair::calm(7);
    pair.run_for(100);
    pair.mute();
    assert!(pair.opener.stream.write("lost at first".into()));
    pair.run_for(ANSWER_MS + 500);
    assert_eq!(pair.circuits, 2);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "lost at first");
    assert_eq!(accepter.read(100), None, "it came once");
}

/// Also an end that has nothing to say finds out, by its own signs of life.
#[test]
fn stream_that_is_idle_finds_out_that_its_circuit_died() {
    let mut pair = Pair::calm(8);
    pair.run_for(100);
    pair.mute();
    pair.run_for(KEEP_ALIVE_MS + ANSWER_MS + 500);
    assert_eq!(pair.circuits, 2);
    assert!(pair.accepter.as_mut().unwrap().stream.write("hello".into()));
    pair.run_for(100);
    assert_eq!(pair.opener.stream.read(100).unwrap(), "hello");
}

#[test]
fn stream_that_gets_no_other_circuit_is_lost_at_both_ends_in_time() {
    let mut pair = Pair::calm(9);
    pair.run_for(100);
    pair.mute();
    pair.redial_ms = u64::MAX;
    assert!(pair.opener.stream.write("never to arrive".into()));
    pair.run_for(ANSWER_MS + RESUME_MS + 100);
    let lost = Some(End::ResetHere(Reset::Lost));
    assert_eq!(pair.opener.stream.end(), lost);
    // The accepter had nothing to wait for an answer to, and so needs two missing signs of life.
    pair.run_for(SILENCE_MS + KEPT_MS);
    assert_eq!(pair.accepter.as_ref().unwrap().stream.end(), lost);
}

#[test]
fn stream_that_was_never_answered_is_lost_with_its_circuit() {
    let mut rng = ChaCha12Rng::seed_from_u64(10);
    let (mut stream, _) = Stream::open(purpose(), Cipher::Aes256Gcm, 0, &mut rng);
    assert!(stream.write("first".into()));
    assert_eq!(stream.next_timeout(), Some(ANSWER_MS));
    stream.handle_timeout(ANSWER_MS - 1);
    assert_eq!(stream.end(), None);
    stream.handle_timeout(ANSWER_MS);
    assert_eq!(stream.end(), Some(End::ResetHere(Reset::Lost)));
    assert!(stream.resume(ANSWER_MS, &mut rng).is_err());
}

/// An opener that never heard of the newest secret comes with the one before.
#[test]
fn stream_whose_resumption_got_no_answer_is_resumed_again() {
    let mut pair = Pair::calm(11);
    pair.run_for(100);
    for round in 0..5 {
        // The command arrives, its answer does not.
        let open = pair
            .opener
            .stream
            .resume(pair.now_ms, &mut pair.rng)
            .unwrap();
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        assert_eq!(accepter.reattach(&open, pair.now_ms, &mut pair.rng), Ok(()));
        let mut unheard = Vec::new();
        assert!(accepter.poll_transmit(&mut unheard, pair.now_ms), "{round}");
    }
    pair.cut();
    assert!(pair.opener.stream.write("at last".into()));
    pair.run_for(500);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "at last");
}

#[test]
fn resumption_without_the_right_proof_leaves_the_stream_as_it_was() {
    let mut pair = Pair::calm(12);
    pair.run_for(100);
    let before = pair.opener.stream.secret.clone().unwrap();
    let id = pair.opener.stream.id();
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    let mut rng = ChaCha12Rng::seed_from_u64(99);
    let secret = StreamSecret::random(&mut rng);
    let good = OpenStream {
        cipher: Cipher::Aes256Gcm,
        share: Share::random(&mut rng).public(),
        purpose: Purpose::Resume(before.ask(id, &secret, 0)),
        secret,
    };
    let with = |change: &dyn Fn(&mut Resume)| {
        let mut open = good.clone();
        if let Purpose::Resume(resume) = &mut open.purpose {
            change(resume);
        }
        open
    };
    let mut other_secret = good.clone();
    other_secret.secret = StreamSecret::random(&mut rng);
    let wrong = [
        with(&|r| r.proof[3] ^= 1),
        with(&|r| r.received = 1),
        with(&|r| r.id = StreamId::from_bytes([7; 16])),
        other_secret,
        OpenStream {
            purpose: purpose(),
            ..good.clone()
        },
    ];
    for open in &wrong {
        let refused = accepter.reattach(open, pair.now_ms, &mut rng);
        assert_eq!(refused, Err(ResumeError::Denied));
    }
    let mut beyond = good.clone();
    beyond.purpose = Purpose::Resume(before.ask(id, &beyond.secret, 1_000));
    let refused = accepter.reattach(&beyond, pair.now_ms, &mut rng);
    assert_eq!(refused, Err(ResumeError::Position));
    let mut degenerate = good.clone();
    degenerate.share = [0; 32];
    let refused = accepter.reattach(&degenerate, pair.now_ms, &mut rng);
    assert_eq!(refused, Err(ResumeError::Denied));
    assert!(pair.opener.stream.write("undisturbed".into()));
    pair.run_for(100);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "undisturbed");
    assert_eq!(accepter.reattach(&good, pair.now_ms, &mut rng), Ok(()));
}

/// An opener that lost its circuit just before the last acknowledgement hears it by resuming.
#[test]
fn stream_that_is_finished_at_one_end_can_be_resumed_to_say_so() {
    let mut pair = Pair::calm(13);
    pair.run_for(100);
    pair.accepter.as_mut().unwrap().stream.finish();
    pair.run_for(100);
    assert!(pair.opener.stream.write("the rest".into()));
    pair.opener.stream.finish();
    pair.deliver_only_to_accepter(100);
    let accepter = &pair.accepter.as_ref().unwrap().stream;
    assert_eq!(accepter.end(), Some(End::Finished));
    assert_eq!(pair.opener.stream.end(), None);
    pair.cut();
    pair.run_for(500);
    assert_eq!(pair.opener.stream.end(), Some(End::Finished));
}

#[test]
fn altered_frame_costs_its_circuit_and_nothing_else() {
    let mut pair = Pair::calm(14);
    pair.run_for(100);
    for bit in 0..(8 * 57) {
        let opener = &mut pair.opener.stream;
        assert!(opener.write(vec![bit as u8].into()));
        let mut frame = Vec::new();
        assert!(opener.poll_transmit(&mut frame, pair.now_ms));
        assert_eq!(frame.len(), 57);
        frame[bit / 8] ^= 1 << (bit % 8);
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        let outcome = accepter.handle_frame(frame[..].into(), pair.now_ms);
        // A lower counter is taken for a repetition: then the next frame shows the gap.
        if outcome.is_ok() {
            assert!(bit < 64);
            pair.cut();
        } else {
            assert!(accepter.is_detached());
        }
        pair.run_for(500);
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        assert_eq!(accepter.end(), None, "{bit}");
        assert_eq!(accepter.read(100), Some(vec![bit as u8].into()), "{bit}");
    }
}

#[test]
fn frame_of_another_circuit_of_the_same_stream_does_not_open() {
    let mut pair = Pair::calm(15);
    pair.run_for(100);
    assert!(pair.opener.stream.write("on the old circuit".into()));
    let mut old = Vec::new();
    assert!(pair.opener.stream.poll_transmit(&mut old, pair.now_ms));
    pair.cut();
    pair.run_for(500);
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    assert_eq!(accepter.read(100).unwrap(), "on the old circuit");
    // Try it at every counter that the new circuit may stand at.
    for counter in 0..20_u64 {
        old[..8].copy_from_slice(&(counter | 1 << 63).to_be_bytes());
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        if accepter.handle_frame(old[..].into(), pair.now_ms).is_err() {
            assert_eq!(accepter.read(100), None);
            pair.run_for(500);
        }
    }
}

/// The far end itself may be hostile.
#[test]
fn end_that_sends_more_than_was_granted_loses_the_stream() {
    let mut pair = Pair::calm(16);
    pair.run_for(100);
    pair.opener.stream.sending.grant(u64::MAX);
    for _ in 0..3 {
        while pair.opener.stream.room() > 0 {
            let some = pair.opener.stream.room().min(50_000);
            assert!(pair.opener.stream.write(vec![7; some].into()));
        }
        pair.run_for(200);
    }
    let accepter = &pair.accepter.as_ref().unwrap().stream;
    assert_eq!(accepter.end(), Some(End::ResetHere(Reset::Protocol)));
    let opener = &pair.opener.stream;
    assert_eq!(opener.end(), Some(End::ResetThere(Reset::Protocol)));
}

#[test]
fn end_that_acknowledges_what_was_never_sent_loses_the_stream() {
    let mut sending = Sending::default();
    assert!(sending.write("abc".into()));
    assert!(!sending.acknowledge(1), "nothing was sent");
    assert_eq!(sending.next(2, true).unwrap().bytes, 2);
    assert!(sending.acknowledge(2));
    assert!(!sending.acknowledge(3));
    sending.finish();
    assert!(sending.next(100, false).unwrap().last);
    assert!(sending.acknowledge(3) && !sending.is_over());
    assert!(sending.acknowledge(4) && sending.is_over());
    assert!(!sending.acknowledge(5));
}

#[test]
fn data_that_contradict_what_was_said_are_not_taken() {
    let mut receiving = Receiving::default();
    assert!(
        !receiving.take(1, "a".into(), false, 0),
        "a byte is missing"
    );
    assert!(receiving.take(0, "abc".into(), false, 0));
    assert!(
        receiving.take(1, "bc".into(), false, 0),
        "it was sent again"
    );
    assert!(
        !receiving.take(0, "a".into(), true, 0),
        "the end was passed"
    );
    assert!(!receiving.take(u64::MAX, "abc".into(), false, 0));
    assert!(receiving.take(2, "cd".into(), true, 0));
    assert!(!receiving.take(4, "e".into(), false, 0), "it has ended");
    assert!(receiving.take(4, Bytes::new(), true, 0));
    assert_eq!(receiving.received(), 5);
    let mut read = Vec::new();
    while let Some(bytes) = receiving.read(2) {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, b"abcd");
    assert!(receiving.is_read_out());
}

#[test]
fn key_changes_after_its_frames_at_both_ends() {
    let mut pair = Pair::calm(17);
    pair.run_for(100);
    let key = |stream: &Stream| stream.attachment.as_ref().unwrap().sending_key();
    let before = key(&pair.opener.stream);
    let mut now_ms = pair.now_ms;
    let accepter = &mut pair.accepter.as_mut().unwrap().stream;
    for n in 0..REKEY_FRAMES + 10 {
        now_ms += 1;
        assert!(pair.opener.stream.write(vec![n as u8].into()));
        let mut frame = Vec::new();
        assert!(pair.opener.stream.poll_transmit(&mut frame, now_ms));
        accepter.handle_frame(frame[..].into(), now_ms).unwrap();
        assert_eq!(accepter.read(2).unwrap(), vec![n as u8]);
        frame.clear();
        if accepter.poll_transmit(&mut frame, now_ms) {
            let opener = &mut pair.opener.stream;
            opener.handle_frame(frame[..].into(), now_ms).unwrap();
        }
    }
    assert_ne!(key(&pair.opener.stream), before);
}

#[test]
fn machine_without_aes_is_spoken_to_by_the_other_cipher() {
    use Cipher::{Aes256Gcm, ChaCha20Poly1305};
    for (here, there, both) in [
        (Aes256Gcm, Aes256Gcm, Aes256Gcm),
        (Aes256Gcm, ChaCha20Poly1305, ChaCha20Poly1305),
        (ChaCha20Poly1305, Aes256Gcm, ChaCha20Poly1305),
    ] {
        let mut pair = Pair::with_ciphers(18, here, there);
        assert!(pair.opener.stream.write("hello".into()));
        pair.run_for(200);
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        assert_eq!(accepter.read(100).unwrap(), "hello");
        assert!(accepter.write("hello yourself".into()));
        pair.run_for(200);
        assert_eq!(pair.opener.stream.read(100).unwrap(), "hello yourself");
        let cipher = pair.opener.stream.attachment.as_ref().unwrap().cipher();
        assert_eq!(cipher, both);
        pair.cut();
        pair.run_for(500);
        assert!(pair.opener.stream.write("again".into()));
        pair.run_for(500);
        let accepter = &mut pair.accepter.as_mut().unwrap().stream;
        assert_eq!(accepter.read(100).unwrap(), "again");
    }
}

#[test]
fn command_is_read_as_it_was_written_and_not_when_it_is_cut() {
    let mut rng = ChaCha12Rng::seed_from_u64(19);
    let mut pair = Pair::calm(19);
    pair.run_for(100);
    let resume = pair.opener.stream.resume(pair.now_ms, &mut rng).unwrap();
    let cipher = Cipher::ChaCha20Poly1305;
    for open in [
        Stream::open(purpose(), cipher, 0, &mut rng).1,
        Stream::open(Purpose::Datagrams, cipher, 0, &mut rng).1,
        resume,
    ] {
        let mut e = writer(256);
        written(open.encode(&mut e));
        let bytes = e.into_writer();
        let read = |bytes: &[u8]| OpenStream::decode(&mut minicbor::Decoder::new(bytes)).ok();
        assert_eq!(read(&bytes), Some(open));
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), None, "{length}");
        }
    }
}

/// The main promise, against circuits that do everything circuits can do.
#[test]
fn all_bytes_arrive_once_and_in_order_over_circuits_that_fail() {
    let seeds = std::env::var("CONET_STREAM_SEEDS").ok();
    let seeds: u64 = seeds.map_or(150, |n| n.parse().unwrap());
    let only = std::env::var("CONET_STREAM_SEED").ok();
    let range = only.map_or(0..seeds, |n| {
        let seed = n.parse().unwrap();
        seed..seed + 1
    });
    let (mut circuits, mut repeated) = (0, 0);
    for seed in range {
        let mut pair = Pair::faulty(seed);
        // What a failing test says first is how to play it again.
        let outcome = pair.exchange();
        assert_eq!(outcome, Ok(()), "CONET_STREAM_SEED={seed}");
        circuits += pair.circuits;
        repeated += pair.repeated_positions;
    }
    assert_eq!(repeated, 0, "a key sealed a counter twice");
    assert!(circuits > 0);
    println!("{circuits} circuits");
}

#[test]
fn each_fault_alone_is_survived() {
    for fault in Fault::ALL {
        let mut circuits = 0;
        for seed in 0..10 {
            let mut pair = Pair::with_only(fault, seed);
            assert_eq!(pair.exchange(), Ok(()), "{fault:?}, seed {seed}");
            circuits += pair.circuits;
        }
        // Delay and repetition cost no circuit, all else costs some.
        let harmless = matches!(fault, Fault::Delay | Fault::Repeat);
        assert_eq!(circuits == 10, harmless, "{fault:?}: {circuits}");
    }
}

mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_as_frame_or_command_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut pair = Pair::calm(20);
            pair.run_for(100);
            let _ = pair.opener.stream.handle_frame(bytes[..].into(), pair.now_ms);
            let accepter = &mut pair.accepter.as_mut().unwrap().stream;
            let _ = accepter.handle_frame(bytes[..].into(), pair.now_ms);
            let _ = OpenStream::decode(&mut minicbor::Decoder::new(&bytes));
        }

        /// What an end that has the keys may say.
        #[test]
        fn any_note_under_the_right_keys_never_panics(bytes in proptest::collection::vec(any::<u8>(), 32..200), counter in 0_u64..3) {
            let mut pair = Pair::calm(21);
            pair.run_for(100);
            let mut frame = Vec::new();
            pair.opener.stream.attachment.as_mut().unwrap().seal_raw(&bytes, &mut frame);
            let _ = counter;
            let accepter = &mut pair.accepter.as_mut().unwrap().stream;
            let _ = accepter.handle_frame(frame[..].into(), pair.now_ms);
            pair.run_for(1_000);
        }
    }
}
