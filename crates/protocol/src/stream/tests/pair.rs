//! An opener, an accepter, and the circuits between them, with everything that can go wrong.

use std::collections::{HashSet, VecDeque};

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::super::*;

/// What a circuit may do to frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Delay,
    Repeat,
    Lose,
    Reorder,
    Alter,
    /// It ends, and both ends get to know.
    Cut,
    /// It ends, and nobody gets to know.
    Mute,
}

impl Fault {
    pub(super) const ALL: [Self; 7] = [
        Self::Delay,
        Self::Repeat,
        Self::Lose,
        Self::Reorder,
        Self::Alter,
        Self::Cut,
        Self::Mute,
    ];
}

pub(super) struct Side {
    pub(super) stream: Stream,
    /// Frames on their way to it, and when they arrive.
    inbox: VecDeque<(u64, Vec<u8>)>,
    seen: HashSet<(u64, [u8; 8])>,
    to_write: VecDeque<u8>,
    expected: VecDeque<u8>,
}

pub(super) struct Pair {
    pub(super) now_ms: u64,
    pub(super) rng: ChaCha12Rng,
    pub(super) opener: Side,
    pub(super) accepter: Option<Side>,
    pub(super) latency_ms: u64,
    pub(super) redial_ms: u64,
    pub(super) circuits: u64,
    pub(super) frames: u64,
    /// How often a circuit carried two frames of one direction with one counter field that differ.
    pub(super) repeated_positions: u64,
    /// One in how many frames meets each fault.
    faults: Vec<(Fault, u32)>,
    /// Frames behind the first command, which arrive after it.
    early: VecDeque<(u64, Vec<u8>)>,
    /// What the accepter will write, and expect.
    plan: [VecDeque<u8>; 2],
    /// A command on its way.
    command: Option<(u64, OpenStream)>,
    muted: bool,
    /// When the opener tries another circuit.
    redial_at: Option<u64>,
    cipher: Cipher,
}

fn side(stream: Stream) -> Side {
    Side {
        stream,
        inbox: VecDeque::new(),
        seen: HashSet::new(),
        to_write: VecDeque::new(),
        expected: VecDeque::new(),
    }
}

impl Pair {
    pub(super) fn calm(seed: u64) -> Self {
        Self::with_ciphers(seed, Cipher::Aes256Gcm, Cipher::Aes256Gcm)
    }

    pub(super) fn with_ciphers(seed: u64, here: Cipher, there: Cipher) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let now_ms = 1_800_000_000_000;
        let (opener, open) = Stream::open(super::purpose(), here, now_ms, &mut rng);
        let latency_ms = 20;
        Self {
            now_ms,
            rng,
            opener: side(opener),
            accepter: None,
            latency_ms,
            redial_ms: 100,
            circuits: 1,
            frames: 0,
            repeated_positions: 0,
            faults: Vec::new(),
            early: VecDeque::new(),
            plan: Default::default(),
            command: Some((now_ms + latency_ms, open)),
            muted: false,
            redial_at: None,
            cipher: there,
        }
    }

    pub(super) fn faulty(seed: u64) -> Self {
        let mut pair = Self::calm(seed);
        for fault in Fault::ALL {
            if pair.rng.gen_bool(0.5) {
                // A stream whose circuits go dumb before they have said a word, one after the other, is rightly lost.
                let least = if fault == Fault::Mute { 150 } else { 10 };
                let one_in = pair.rng.gen_range(least..400);
                pair.faults.push((fault, one_in));
            }
        }
        pair.latency_ms = pair.rng.gen_range(0..300);
        pair.fill(0);
        pair
    }

    pub(super) fn with_only(fault: Fault, seed: u64) -> Self {
        let mut pair = Self::calm(seed);
        pair.faults
            .push((fault, if fault == Fault::Mute { 60 } else { 15 }));
        pair.fill(1 << 20);
        pair
    }

    /// Gives both ends something to say, of at least so many bytes.
    fn fill(&mut self, least: usize) {
        let bytes = |rng: &mut ChaCha12Rng| {
            let length = 1 << rng.gen_range(6..22);
            let mut bytes = vec![0; least + rng.gen_range(0..length)];
            rng.fill_bytes(&mut bytes);
            VecDeque::from(bytes)
        };
        self.opener.to_write = bytes(&mut self.rng);
        self.opener.expected = bytes(&mut self.rng);
        self.plan = [self.opener.expected.clone(), self.opener.to_write.clone()];
    }

    /// From now on nothing arrives any more over this circuit.
    pub(super) fn mute(&mut self) {
        self.muted = true;
    }

    /// The circuit ends, and both ends are told.
    pub(super) fn cut(&mut self) {
        self.opener.inbox.clear();
        self.opener.stream.detach(self.now_ms);
        if let Some(accepter) = &mut self.accepter {
            accepter.inbox.clear();
            accepter.stream.detach(self.now_ms);
        }
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.step(end) {}
        self.now_ms = end;
        self.pump();
    }

    /// What the accepter says is lost.
    pub(super) fn deliver_only_to_accepter(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.pump();
            self.opener.inbox.clear();
            self.now_ms += 1;
            self.deliver();
        }
        self.pump();
        self.opener.inbox.clear();
    }

    /// Does what is due, then goes to the next moment at which something is; false if that is not before `end`.
    fn step(&mut self, end: u64) -> bool {
        self.deliver();
        self.opener.stream.handle_timeout(self.now_ms);
        if let Some(accepter) = &mut self.accepter {
            accepter.stream.handle_timeout(self.now_ms);
        }
        self.connect();
        self.pump();
        let accepter = self.accepter.as_ref();
        let moments = [
            self.command.as_ref().map(|(at, _)| *at),
            self.redial_at,
            self.opener.stream.next_timeout(),
            self.opener.inbox.front().map(|(at, _)| *at),
            accepter.and_then(|a| a.stream.next_timeout()),
            accepter.and_then(|a| a.inbox.front().map(|(at, _)| *at)),
        ];
        let next = moments.into_iter().flatten().min().unwrap_or(u64::MAX);
        let next = next.max(self.now_ms + 1);
        if next > end {
            return false;
        }
        self.now_ms = next;
        true
    }

    fn connect(&mut self) {
        let now_ms = self.now_ms;
        if let Some(accepter) = &self.accepter
            && !accepter.stream.has_circuit()
            && self.command.is_none()
            && !self.muted
        {
            self.opener.inbox.clear();
            self.opener.stream.detach(now_ms);
        }
        // An end that gives its circuit up closes it, and so tells the other end, unless nothing arrives any more.
        if self.opener.stream.is_detached() {
            if let Some(accepter) = self.accepter.as_mut().filter(|_| !self.muted) {
                accepter.inbox.clear();
                accepter.stream.detach(now_ms);
            }
            let redial_ms = self.redial_ms;
            let at = *self
                .redial_at
                .get_or_insert(now_ms.saturating_add(redial_ms));
            if now_ms >= at
                && let Ok(open) = self.opener.stream.resume(now_ms, &mut self.rng)
            {
                self.redial_at = None;
                self.muted = false;
                self.circuits += 1;
                self.opener.inbox.clear();
                if let Some(accepter) = &mut self.accepter {
                    accepter.inbox.clear();
                    // The new circuit is the only one.
                    accepter.stream.detach(now_ms);
                }
                self.command = Some((now_ms + self.latency_ms, open));
            }
        }
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        if let Some((_, open)) = self.command.take_if(|(at, _)| *at <= now_ms) {
            match &mut self.accepter {
                Some(accepter) => {
                    let taken = accepter.stream.reattach(&open, now_ms, &mut self.rng);
                    assert_eq!(taken, Ok(()));
                }
                None => {
                    let stream = Stream::accept(&open, self.cipher, now_ms, &mut self.rng);
                    let mut accepter = side(stream.unwrap());
                    [accepter.to_write, accepter.expected] = core::mem::take(&mut self.plan);
                    accepter.inbox = core::mem::take(&mut self.early);
                    self.accepter = Some(accepter);
                }
            }
        }
        while let Some((_, frame)) = self.opener.inbox.pop_front_if(|(at, _)| *at <= now_ms) {
            let _lost = self.opener.stream.handle_frame(frame[..].into(), now_ms);
        }
        // Frames can't overtake the command that makes their circuit.
        if self.command.is_none()
            && let Some(accepter) = &mut self.accepter
        {
            while let Some((_, frame)) = accepter.inbox.pop_front_if(|(at, _)| *at <= now_ms) {
                let _lost = accepter.stream.handle_frame(frame[..].into(), now_ms);
            }
        }
        if self.accepter.is_none() && self.opener.stream.end().is_some() {
            self.command = None;
        }
    }

    fn pump(&mut self) {
        let mut out = Vec::new();
        while self.opener.stream.poll_transmit(&mut out, self.now_ms) {
            let frame = core::mem::take(&mut out);
            self.note(&frame, true);
            self.transmit(frame, true);
        }
        while let Some(accepter) = &mut self.accepter {
            if !accepter.stream.poll_transmit(&mut out, self.now_ms) {
                break;
            }
            let frame = core::mem::take(&mut out);
            self.note(&frame, false);
            self.transmit(frame, false);
        }
    }

    fn note(&mut self, frame: &[u8], from_opener: bool) {
        assert!(frame.len() <= MAX_FRAME_BYTES);
        self.frames += 1;
        let position = *frame.first_chunk::<8>().unwrap();
        let seen = match &mut self.accepter {
            Some(accepter) if !from_opener => &mut accepter.seen,
            _ => &mut self.opener.seen,
        };
        if !seen.insert((self.circuits, position)) {
            self.repeated_positions += 1;
        }
    }

    fn transmit(&mut self, mut frame: Vec<u8>, from_opener: bool) {
        let mut at = self.now_ms + self.latency_ms;
        let mut copies = 1;
        let mut swap = false;
        // A stream that was not answered once can't be resumed: that is its opener's to try anew.
        let is_answered = self.opener.stream.is_resumable();
        for (fault, one_in) in self.faults.clone() {
            if !is_answered {
                break;
            }
            if !self.rng.gen_ratio(1, one_in) {
                continue;
            }
            match fault {
                Fault::Delay => at += self.rng.gen_range(0..2_000),
                Fault::Repeat => copies = 2,
                Fault::Lose => copies = 0,
                Fault::Reorder => swap = true,
                Fault::Alter => {
                    let at = self.rng.gen_range(0..frame.len());
                    frame[at] ^= 1 << self.rng.gen_range(0..8);
                }
                Fault::Cut => return self.cut(),
                Fault::Mute => self.mute(),
            }
        }
        if self.muted {
            return;
        }
        let inbox = match (from_opener, &mut self.accepter) {
            (false, _) => &mut self.opener.inbox,
            (true, Some(accepter)) => &mut accepter.inbox,
            // The first bytes wait behind the command, as at a node.
            (true, None) => &mut self.early,
        };
        if let Some((last, _)) = inbox.back() {
            at = at.max(*last);
        }
        for _ in 0..copies {
            inbox.push_back((at, frame.clone()));
        }
        let n = inbox.len();
        if swap && n >= 2 {
            inbox.swap(n - 1, n - 2);
        }
    }

    /// Lets both ends write and read all that they have, in pieces of random length.
    pub(super) fn exchange(&mut self) -> Result<(), String> {
        for _ in 0..200_000 {
            let mut done = 0;
            let mut rng = ChaCha12Rng::from_seed(self.rng.r#gen());
            // Somebody has the last word, and never knows whether it arrived.
            let opener_is_done = self.opener.stream.end() == Some(End::Finished);
            for side in [Some(&mut self.opener), self.accepter.as_mut()]
                .into_iter()
                .flatten()
            {
                side.write_some(&mut rng);
                side.read_some(&mut rng)?;
                let is_done = side.stream.end() == Some(End::Finished)
                    || (opener_is_done && side.stream.end().is_some());
                done += usize::from(is_done && side.stream.is_read_out());
                if let Some(end) = side.stream.end().filter(|_| !is_done) {
                    return Err(format!(
                        "{end:?} after {} circuits, {} ms latency, {:?}",
                        self.circuits, self.latency_ms, self.faults
                    ));
                }
            }
            if done == 2 {
                let left = self.opener.expected.len()
                    + self.accepter.as_ref().map_or(0, |a| a.expected.len());
                return if left == 0 {
                    Ok(())
                } else {
                    Err(format!("{left} bytes are missing"))
                };
            }
            let ms = self.rng.gen_range(1..60);
            self.run_for(ms);
        }
        Err("it never ends".into())
    }
}

impl Side {
    fn write_some(&mut self, rng: &mut ChaCha12Rng) {
        for _ in 0..rng.gen_range(0..4) {
            let most = self.stream.room().min(self.to_write.len());
            if most == 0 {
                break;
            }
            let length = rng.gen_range(1..=most);
            let bytes: Vec<u8> = self.to_write.drain(..length).collect();
            assert!(self.stream.write(bytes.into()));
        }
        if self.to_write.is_empty() {
            self.stream.finish();
        }
    }

    fn read_some(&mut self, rng: &mut ChaCha12Rng) -> Result<(), String> {
        let mut most = rng.gen_range(0..400_000);
        while most > 0 {
            let Some(bytes) = self.stream.read(most) else {
                break;
            };
            most -= bytes.len();
            for byte in bytes {
                if self.expected.pop_front() != Some(byte) {
                    return Err("another byte than was sent".into());
                }
            }
        }
        Ok(())
    }
}
