//! What the far end of a stream can say that has the right keys, at any time and over any number of circuits; and what
//! can be said to it on the way. Whatever comes, the bytes that are read are those that were accepted, in order, and the frames that
//! are sent are sealed as `docs/wire-format.md`, 11, says.
#![no_main]
use bytes::Bytes;
use protocol::NodeId;
use protocol::answer::AnswerKey;
use protocol::command::{Body, Command, Ties};
use protocol::stream::{
    Cipher, FrameError, INITIAL_GRANT_BYTES, MAX_FRAME_BYTES, OpenStream, Purpose, Reset, Stream, WINDOW_BYTES,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver as _, DefaultResolver};

const MIXED: u64 = 1 << 63;
const LAST: u8 = 1;
const RESET: u8 = 2;
/// Where the secret begins in a command with a time below 24.
const SECRET_AT: usize = 80;
const MAX_STEPS: usize = 256;
/// Frames that a window takes at most, and some.
const MAX_FRAMES: usize = 64;

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

fn kdf(secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    let key = Salt::new(HKDF_SHA256, b"conet/1").extract(secret);
    key.expand(info, Length32).unwrap().fill(&mut out).unwrap();
    out
}

fn public(private: &[u8; 32]) -> [u8; 32] {
    protocol::link::public_key(private)
}

fn agree(private: &[u8; 32], share: &[u8]) -> [u8; 32] {
    let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
    dh.set(private);
    let mut out = [0; 32];
    dh.dh(share, &mut out).unwrap();
    out
}

fn aead(cipher: u8, key: &[u8; 32]) -> LessSafeKey {
    let algorithm = if cipher == 0 { &AES_256_GCM } else { &CHACHA20_POLY1305 };
    LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap())
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The far end on one circuit.
struct Far {
    is_opener: bool,
    early: [u8; 32],
    private: [u8; 32],
    /// Both shares mixed in, and the cipher of what follows.
    mixed: Option<([u8; 32], u8)>,
    first_cipher: u8,
    next_out: u64,
    next_in: u64,
}

impl Far {
    fn new(is_opener: bool, secret: &[u8], former: &[u8], private: [u8; 32], first_cipher: u8) -> Self {
        let early = kdf(secret, &[b"stream/secret", former]);
        Self { is_opener, early, private, mixed: None, first_cipher, next_out: 0, next_in: 0 }
    }

    fn mix(&mut self, share: &[u8], cipher: u8) {
        let shared = agree(&self.private, share);
        self.mixed = Some((kdf(&[self.early, shared].concat(), &[b"stream/mixed"]), cipher));
    }

    fn resume_secret(&self) -> Option<[u8; 32]> {
        Some(kdf(&self.mixed?.0, &[b"stream/resume"]))
    }

    /// The key of what one of the two sends.
    fn key(&self, of_opener: bool, is_mixed: bool) -> LessSafeKey {
        let who: &[u8] = if of_opener { b"opener" } else { b"accepter" };
        match self.mixed.filter(|_| is_mixed) {
            Some((mixed, cipher)) => aead(cipher, &kdf(&mixed, &[b"stream/", who])),
            None => aead(self.first_cipher, &kdf(&self.early, &[b"stream/early/", who])),
        }
    }

    /// Seals the next frame. What an accepter says first has its hello at 32 to 72, which goes before the seal; a share of
    /// zeros stays one, any other becomes the real one.
    fn seal(&mut self, clear: &mut Vec<u8>) -> Vec<u8> {
        let is_hello = !self.is_opener && self.next_out == 0;
        let mut hello = Vec::new();
        if is_hello {
            hello = clear.drain(clear.len().min(32)..clear.len().min(72)).collect();
            hello.resize(40, 1);
            if hello[..32] != [0; 32] {
                hello[..32].copy_from_slice(&public(&self.private));
            }
            if let Some((_, cipher)) = &mut self.mixed {
                *cipher = hello[32];
            }
        }
        let is_mixed = self.mixed.is_some();
        let counter = self.next_out;
        self.next_out += 1;
        let field = (counter | if is_mixed { MIXED } else { 0 }).to_be_bytes();
        let head = [&field[..], &hello].concat();
        let mut sealed = clear.clone();
        let key = self.key(self.is_opener, is_mixed);
        key.seal_in_place_append_tag(nonce(counter), Aad::from(&head), &mut sealed).unwrap();
        [head, sealed].concat()
    }

    /// Opens what the stream sends; returns flags, offset and data.
    fn open(&mut self, frame: &[u8]) -> (u8, u64, Vec<u8>) {
        assert!(frame.len() <= MAX_FRAME_BYTES);
        let is_hello = self.is_opener && self.next_in == 0;
        let (head, sealed) = frame.split_at(if is_hello { 48 } else { 8 });
        let number = u64::from_be_bytes(head[..8].try_into().unwrap());
        assert_eq!(number & !MIXED, self.next_in, "counters rise by one");
        if is_hello {
            self.mix(&head[8..40], head[40]);
        }
        let mut sealed = sealed.to_vec();
        let key = self.key(!self.is_opener, number & MIXED != 0);
        let clear = key.open_in_place(nonce(self.next_in), Aad::from(head), &mut sealed).expect("it verifies");
        self.next_in += 1;
        (clear[0], u64::from_be_bytes(clear[8..16].try_into().unwrap()), clear[32..].to_vec())
    }
}

/// A command with ties that mean nothing.
fn command(fields: &[u8]) -> OpenStream {
    let bytes = [&[0x87, 1, 0x54][..], &[1; 20], &[5, 0x50], &[2; 16], &[0x58, 32], &[3; 32], &[3], fields].concat();
    match Command::decode(&bytes).expect("a command").body {
        Body::OpenStream(open) => open,
        _ => unreachable!("that was another kind"),
    }
}

/// Secret and share of a command that the stream made.
fn carried(open: OpenStream) -> ([u8; 32], [u8; 32]) {
    let ties = Ties {
        node: NodeId::from_bytes([1; 20]),
        time_ms: 5,
        nonce: [2; 16],
        answer_key: AnswerKey::from_bytes([3; 32]),
    };
    let bytes = Command { ties, body: Body::OpenStream(open) }.encode();
    let at = |from: usize| bytes[from..from + 32].try_into().unwrap();
    (at(SECRET_AT), at(SECRET_AT + 34))
}

struct World {
    stream: Stream,
    far: Far,
    rng: ChaCha20Rng,
    now_ms: u64,
    ciphers: [u8; 2],
    circuits: u8,
    /// By what the stream is resumed next.
    former: Option<[u8; 32]>,
    /// What the stream has accepted, and how much of it was read.
    accepted: Vec<u8>,
    read: usize,
    /// What was written, and how much of it the far end has.
    written: Vec<u8>,
    arrived: u64,
    has_end: bool,
}

fn cipher(byte: u8) -> Cipher {
    if byte == 0 { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 }
}

/// The fields of a command of the hostile opener, but for the purpose.
fn fields(first_cipher: u8, secret: &[u8; 32], private: &[u8; 32]) -> Vec<u8> {
    [&[0x84, first_cipher, 0x58, 32][..], secret, &[0x58, 32], &public(private)].concat()
}

impl World {
    fn new(head: u8) -> Self {
        let (is_opener, ciphers) = (head & 1 == 0, [head >> 1 & 1, head >> 2 & 1]);
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(head));
        let now_ms = 1_000_000;
        let (stream, far) = if is_opener {
            let (secret, private) = ([1; 32], [101; 32]);
            let open = command(&[&fields(ciphers[0], &secret, &private)[..], &[0x81, 1]].concat());
            let stream = Stream::accept(&open, cipher(ciphers[1]), now_ms, &mut rng).expect("a share");
            (stream, Far::new(true, &secret, &[], private, ciphers[0]))
        } else {
            let (stream, open) = Stream::open(Purpose::Datagrams, cipher(ciphers[0]), now_ms, &mut rng);
            let (secret, share) = carried(open);
            let mut far = Far::new(false, &secret, &[], [101; 32], ciphers[0]);
            far.mix(&share, 1);
            (stream, far)
        };
        Self {
            stream,
            far,
            rng,
            now_ms,
            ciphers,
            circuits: 1,
            former: None,
            accepted: Vec::new(),
            read: 0,
            written: Vec::new(),
            arrived: 0,
            has_end: false,
        }
    }

    /// The far end says something under the right keys.
    fn hear(&mut self, bytes: &[u8]) {
        let mut clear = bytes.to_vec();
        let is_hello = !self.far.is_opener && self.far.next_out == 0;
        let could_hear = self.stream.has_circuit() && self.stream.end().is_none();
        let frame = self.far.seal(&mut clear);
        let taken = self.stream.handle_frame(frame[..].into(), self.now_ms);
        // A hello with an unknown cipher or a share of zeros is as good as forged.
        let is_sound = !is_hello || (frame[40] < 2 && frame[8..40] != [0; 32]);
        if could_hear && clear.len() >= 32 && is_sound {
            let is_wrong = matches!(taken, Err(FrameError::Forged | FrameError::Gap));
            assert!(!is_wrong, "the keys are right: {taken:?}");
        }
        if taken.is_err() || !could_hear {
            return;
        }
        if is_hello {
            self.former = self.far.resume_secret();
        }
        if clear[0] & RESET != 0 {
            assert!(self.stream.end().is_some());
            return;
        }
        let padding = usize::from(u16::from_be_bytes([clear[2], clear[3]]));
        let data = &clear[32..clear.len() - padding];
        let offset = u64::from_be_bytes(clear[8..16].try_into().unwrap());
        if data.is_empty() && clear[0] & LAST == 0 {
            return;
        }
        let known = self.accepted.len() - usize::try_from(offset).expect("nothing is missing");
        assert!(offset + data.len() as u64 <= self.read as u64 + WINDOW_BYTES, "no more than was granted");
        self.accepted.extend_from_slice(data.get(known..).unwrap_or_default());
    }

    fn read(&mut self, most_bytes: usize) {
        let Some(bytes) = self.stream.read(most_bytes) else { return };
        assert_eq!(bytes, self.accepted[self.read..][..bytes.len()], "what was accepted, in order");
        self.read += bytes.len();
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.stream.finish();
        } else if self.stream.write(Bytes::copy_from_slice(bytes)) {
            self.written.extend_from_slice(bytes);
        }
    }

    fn send(&mut self) {
        let mut frames = 0;
        let (mut frame, unheard) = (Vec::new(), self.far.next_out == 0);
        let before = self.arrived;
        while self.stream.poll_transmit(&mut frame, self.now_ms) {
            let (flags, offset, data) = self.far.open(&frame);
            let end = offset + data.len() as u64;
            if !data.is_empty() {
                assert!(offset <= self.arrived, "no gaps");
                assert_eq!(data, self.written[offset as usize..end as usize]);
            }
            self.arrived = self.arrived.max(end);
            self.has_end |= flags & LAST != 0;
            frames += 1;
            assert!(frames < MAX_FRAMES, "it sends for ever");
            frame.clear();
        }
        assert!(!unheard || self.arrived - before <= 2 * INITIAL_GRANT_BYTES);
        if let Some(next_ms) = self.stream.next_timeout() {
            assert!(next_ms > self.now_ms, "it would never rest");
        }
        if self.far.is_opener && let Some(secret) = self.far.resume_secret() {
            self.former = Some(secret);
        }
    }

    /// Another circuit; the hostile opener may lie.
    fn resume(&mut self, lie: &[u8]) {
        let Some(former) = self.former else { return };
        let Some(number) = self.circuits.checked_add(1).filter(|n| *n < 100) else { return };
        let (secret, private) = ([number; 32], [100 + number; 32]);
        if self.far.is_opener {
            let mut received = self.arrived + u64::from(self.has_end);
            if let Some(lie) = lie.first_chunk() {
                received = u64::from_be_bytes(*lie);
            }
            let id = *self.stream.id().as_bytes();
            let text = [&b"stream/resume"[..], &secret, &id, &received.to_be_bytes()].concat();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &former);
            let mut proof = ring::hmac::sign(&key, &text).as_ref()[..16].to_vec();
            let is_forged = lie.len() > 8 && lie[8] != 0;
            if is_forged {
                proof[0] ^= lie[8];
            }
            let resume = [&[0x84, 2, 0x50][..], &id, &[0x1b], &received.to_be_bytes(), &[0x50], &proof].concat();
            let open = command(&[&fields(self.ciphers[0], &secret, &private)[..], &resume].concat());
            let taken = self.stream.reattach(&open, self.now_ms, &mut self.rng);
            assert!(!is_forged || taken.is_err());
            assert!(!lie.is_empty() || taken.is_ok(), "an honest opener: {taken:?}");
            if taken.is_err() {
                return;
            }
            self.far = Far::new(true, &secret, &former, private, self.ciphers[0]);
        } else {
            let Ok(open) = self.stream.resume(self.now_ms, &mut self.rng) else { return };
            let (secret, share) = carried(open);
            self.far = Far::new(false, &secret, &former, private, self.ciphers[0]);
            self.far.mix(&share, 1);
        }
        self.circuits = number;
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((head, mut rest)) = bytes.split_first() else { return };
    let mut world = World::new(*head);
    for _ in 0..MAX_STEPS {
        let Some((&[kind, length], more)) = rest.split_first_chunk() else { break };
        let (said, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        match kind % 9 {
            0 => world.hear(said),
            1 => {
                let _ = world.stream.handle_frame(said.into(), world.now_ms);
            }
            2 => {
                let ms = said.iter().fold(0, |ms: u64, byte| (ms << 8 | u64::from(*byte)) & 0x3_ffff);
                world.now_ms += ms;
                world.stream.handle_timeout(world.now_ms);
            }
            3 => world.read(usize::from(length)),
            4 => world.write(said),
            5 => world.send(),
            6 if length == 0 => world.stream.opened(),
            6 => world.stream.reset(Reset::Busy),
            7 => world.resume(said),
            _ => world.stream.detach(world.now_ms),
        }
    }
    // What was accepted can be read whatever happened then.
    while world.read < world.accepted.len() {
        let before = world.read;
        world.read(usize::MAX);
        assert!(world.read > before, "accepted bytes are lost");
    }
});
