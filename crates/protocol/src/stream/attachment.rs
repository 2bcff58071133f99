//! A stream on one circuit: the keys, counters and times that end with it.

use bytes::{Bytes, BytesMut};
use rand::{CryptoRng, RngCore};

use super::frame::{COUNTER_BYTES, Envelope, HELLO_BYTES, Head, Hello, NOTE_BYTES, Note};
use super::keys::{Cipher, Early, Keys, Mixed, ResumeSecret, Share, StreamSecret};
use super::open::OpenStream;
use super::{ANSWER_MS, FrameError, KEEP_ALIVE_MS, MAX_FRAME_BYTES, Role, SILENCE_MS};
use crate::secrets::{TAG_BYTES, counter_nonce};

/// The bit of the counter field that says that the shares are mixed in.
const MIXED: u64 = 1 << 63;
const LEAST_BYTES: usize = COUNTER_BYTES + NOTE_BYTES + TAG_BYTES;

#[derive(Debug)]
pub(super) struct Attachment {
    role: Role,
    sending: Keys,
    next_out: u64,
    /// What is sent is sealed by mixed keys.
    mixed_out: bool,
    /// An opener has none until it has the accepter's share.
    opening: Option<Keys>,
    next_in: u64,
    mixed_in: bool,
    stage: Stage,
    heard_ms: u64,
    sent_ms: u64,
    /// Since when something that was sent waits for a sign of life.
    asked_ms: Option<u64>,
    /// The far end asks for a sign of life.
    is_asked: bool,
}

/// How far the mixing has got.
#[derive(Debug)]
enum Stage {
    /// The opener waits for the accepter's share.
    Waiting { early: Early, share: Share },
    /// The opener has mixed it in.
    Mixed(ResumeSecret),
    /// The accepter has its share to send.
    Hello { share: [u8; 32], far: Box<Keys> },
    /// The accepter has sent it and waits for a frame under mixed keys.
    Said { far: Box<Keys> },
    /// The accepter has had one.
    Done,
}

impl Attachment {
    pub(super) fn opener(
        secret: &StreamSecret,
        former: Option<&ResumeSecret>,
        share: Share,
        cipher: Cipher,
        now_ms: u64,
    ) -> Self {
        let early = Early::new(secret, former);
        let sending = early.keys(cipher);
        let stage = Stage::Waiting { early, share };
        let mut new = Self::new(Role::Opener, sending, None, stage, now_ms);
        // The command itself wants an answer.
        new.asked_ms = Some(now_ms);
        new
    }

    /// Also returns what the opener may resume by once it has had the first frame. `None` if its share is degenerate.
    pub(super) fn accepter(
        open: &OpenStream,
        former: Option<&ResumeSecret>,
        cipher: Cipher,
        now_ms: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Option<(Self, ResumeSecret)> {
        let early = Early::new(&open.secret, former);
        let share = Share::random(rng);
        let mixed = early.mix(&share, &open.share).ok()?;
        let (sending, opening) = (mixed.keys(Role::Accepter, cipher), early.keys(open.cipher));
        let stage = Stage::Hello {
            share: share.public(),
            far: Box::new(mixed.keys(Role::Opener, cipher)),
        };
        let new = Self::new(Role::Accepter, sending, Some(opening), stage, now_ms);
        Some((new, mixed.resume_secret()))
    }

    fn new(role: Role, sending: Keys, opening: Option<Keys>, stage: Stage, now_ms: u64) -> Self {
        Self {
            role,
            sending,
            next_out: 0,
            mixed_out: role == Role::Accepter,
            opening,
            next_in: 0,
            mixed_in: false,
            stage,
            heard_ms: now_ms,
            sent_ms: now_ms,
            asked_ms: None,
            is_asked: false,
        }
    }

    /// What the opener may resume by, once it has been answered.
    pub(super) fn resume_secret(&self) -> Option<&ResumeSecret> {
        match &self.stage {
            Stage::Mixed(secret) => Some(secret),
            _ => None,
        }
    }

    /// The opener is known to have the accepter's share.
    pub(super) fn is_known_mixed(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// The accepter has not said its first word.
    pub(super) fn has_hello(&self) -> bool {
        matches!(self.stage, Stage::Hello { .. })
    }

    /// The far end has said nothing yet over this circuit.
    pub(super) fn is_unheard(&self) -> bool {
        self.next_in == 0
    }

    /// Bytes of data that the next frame holds.
    pub(super) fn room(&self) -> usize {
        let hello = if self.has_hello() { HELLO_BYTES } else { 0 };
        MAX_FRAME_BYTES - LEAST_BYTES - hello
    }

    /// The far end should hear something though there are no data for it.
    pub(super) fn owes_word(&self, now_ms: u64) -> bool {
        self.has_hello() || self.is_asked || self.is_time_to_ask(now_ms)
    }

    fn is_time_to_ask(&self, now_ms: u64) -> bool {
        self.role == Role::Opener
            && self.asked_ms.is_none()
            && now_ms >= self.sent_ms.max(self.heard_ms) + KEEP_ALIVE_MS
    }

    /// Appends a sealed frame to `out`. `wants_answer` if it has what the far end acknowledges.
    pub(super) fn seal(
        &mut self,
        note: Note,
        wants_answer: bool,
        now_ms: u64,
        out: &mut Vec<u8>,
        data: impl FnOnce(&mut Vec<u8>),
    ) {
        let asks = self.is_time_to_ask(now_ms);
        let hello = match &self.stage {
            Stage::Hello { share, .. } => Some(Hello::new(share, self.sending.cipher())),
            _ => None,
        };
        let envelope = Envelope {
            note,
            asks,
            padding_bytes: 0,
        };
        let counter = self.next_out;
        let field = (counter | if self.mixed_out { MIXED } else { 0 }).to_be_bytes();
        let head = Head::new(field, hello.as_ref());
        out.extend_from_slice(head.as_bytes());
        let sealed_from = out.len();
        out.extend_from_slice(&envelope.encode());
        data(out);
        self.sending.at(counter).seal_tail(
            counter_nonce(counter),
            head.as_bytes(),
            out,
            sealed_from,
        );
        self.next_out += 1;
        self.sent_ms = now_ms;
        self.is_asked = false;
        if asks || wants_answer {
            self.asked_ms.get_or_insert(now_ms);
        }
        if hello.is_some() {
            let stage = core::mem::replace(&mut self.stage, Stage::Done);
            if let Stage::Hello { far, .. } = stage {
                self.stage = Stage::Said { far };
            }
        }
    }

    /// Opens a frame; `None` if it came before.
    pub(super) fn open(
        &mut self,
        mut frame: BytesMut,
        now_ms: u64,
    ) -> Result<Option<(Note, Bytes)>, FrameError> {
        if frame.len() < LEAST_BYTES || frame.len() > MAX_FRAME_BYTES {
            return Err(FrameError::Length);
        }
        let field = *frame
            .first_chunk::<COUNTER_BYTES>()
            .ok_or(FrameError::Length)?;
        let number = u64::from_be_bytes(field);
        let (counter, is_mixed) = (number & !MIXED, number & MIXED != 0);
        if counter < self.next_in {
            return Ok(None);
        }
        if counter > self.next_in {
            return Err(FrameError::Gap);
        }
        let hello = match self.role == Role::Opener && counter == 0 {
            true => Some(Hello::decode(&frame).ok_or(FrameError::Length)?),
            false => None,
        };
        let mixed = match &hello {
            Some(_) if !is_mixed => return Err(FrameError::Forged),
            Some(hello) => Some(self.mix(hello)?),
            None if is_mixed != self.mixed_in => {
                self.expect_mixed(is_mixed)?;
                None
            }
            None => None,
        };
        let head = Head::new(field, hello.as_ref());
        let from = head.as_bytes().len();
        let sealed = frame.get_mut(from..).ok_or(FrameError::Length)?;
        let opening = match &mixed {
            // What the share leads to is tried before it is kept: anybody on the way can put another one there.
            Some((mixed, cipher)) => self.opening.insert(mixed.keys(Role::Accepter, *cipher)),
            None => self.opening.as_mut().ok_or(FrameError::Forged)?,
        };
        let clear = opening
            .at(counter)
            .open(counter_nonce(counter), head.as_bytes(), sealed)
            .map_err(|_| FrameError::Forged)?;
        let note = clear
            .first_chunk::<NOTE_BYTES>()
            .ok_or(FrameError::Length)?;
        let envelope = Envelope::decode(note);
        let from = from + NOTE_BYTES;
        if let Some((mixed, cipher)) = mixed {
            (self.sending, self.mixed_out) = (mixed.keys(Role::Opener, cipher), true);
            self.mixed_in = true;
            self.stage = Stage::Mixed(mixed.resume_secret());
        }
        self.next_in += 1;
        self.heard_ms = now_ms;
        // Whatever still is under way was sent after what this answers, or waits a little longer.
        self.asked_ms = None;
        self.is_asked |= envelope.asks;
        let end = frame.len() - TAG_BYTES;
        let to = end.checked_sub(usize::from(envelope.padding_bytes));
        let to = to.filter(|to| *to >= from).ok_or(FrameError::Protocol)?;
        let mut data = frame.freeze();
        data.truncate(to);
        Ok(Some((envelope.note, data.split_off(from))))
    }

    /// Changes to mixed keys for opening, if it is time for that.
    fn expect_mixed(&mut self, is_mixed: bool) -> Result<(), FrameError> {
        if !is_mixed {
            return Err(FrameError::Forged);
        }
        match core::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Said { far } => {
                (self.opening, self.mixed_in) = (Some(*far), true);
                Ok(())
            }
            // An opener has changed when it was told; an accepter can't be answered before it has spoken.
            other => {
                self.stage = other;
                Err(FrameError::Forged)
            }
        }
    }

    /// What the accepter's share and the opener's lead to.
    fn mix(&self, hello: &Hello) -> Result<(Mixed, Cipher), FrameError> {
        let Stage::Waiting { early, share } = &self.stage else {
            return Err(FrameError::Forged);
        };
        let cipher = hello.cipher().ok_or(FrameError::Forged)?;
        let mixed = early
            .mix(share, hello.share())
            .map_err(|_| FrameError::Forged)?;
        Ok((mixed, cipher))
    }

    /// Something else than a frame's sign of life is under way: waiting for it begins now, unless it has begun.
    pub(super) fn wait_from(&mut self, now_ms: u64) {
        self.asked_ms.get_or_insert(now_ms);
    }

    /// When the circuit is dead, if nothing comes until then.
    fn dead_at(&self) -> Option<u64> {
        let unanswered = self.asked_ms.map(|asked| asked + ANSWER_MS);
        let silent = (self.role == Role::Accepter).then_some(self.heard_ms + SILENCE_MS);
        [unanswered, silent].into_iter().flatten().min()
    }

    pub(super) fn is_dead(&self, now_ms: u64) -> bool {
        self.dead_at().is_some_and(|at| now_ms >= at)
    }

    pub(super) fn next_timeout(&self) -> u64 {
        let asks = (self.role == Role::Opener && self.asked_ms.is_none())
            .then_some(self.sent_ms.max(self.heard_ms) + KEEP_ALIVE_MS);
        let due = [self.dead_at(), asks].into_iter().flatten().min();
        // An opener either waits for an answer or will ask; an accepter always waits.
        due.unwrap_or(self.heard_ms + SILENCE_MS)
    }
}

#[cfg(test)]
impl Attachment {
    pub(super) fn sending_key(&self) -> [u8; 32] {
        self.sending.bytes()
    }

    pub(super) fn cipher(&self) -> Cipher {
        self.sending.cipher()
    }

    /// Seals any cleartext as the next frame.
    pub(super) fn seal_raw(&mut self, clear: &[u8], out: &mut Vec<u8>) {
        let counter = self.next_out;
        let field = (counter | if self.mixed_out { MIXED } else { 0 }).to_be_bytes();
        out.extend_from_slice(&field);
        let from = out.len();
        out.extend_from_slice(clear);
        self.sending
            .at(counter)
            .seal_tail(counter_nonce(counter), &field, out, from);
        self.next_out += 1;
    }
}
