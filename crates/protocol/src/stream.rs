//! Streams: a two-way pipe of bytes between two ends, over circuits that nodes splice blind
//! (`docs/wire-format.md`, 11).
//!
//! A [`Stream`] is one end. Its maker, the *opener*, hands a shared secret to the far end, the *accepter*, in
//! one command ([`OpenStream`]); from then on both seal frames with counters. After the first round trip
//! ephemeral shares of both ends are mixed into the keys, and every [`REKEY_FRAMES`] frames a key is replaced by one
//! that does not lead back to it.
//!
//! A *circuit* is what carries frames from end to end in order. It may break at any time, lose what was
//! under way, or be cut by somebody who repeats, reorders or drops frames: all of that looks the same here, the
//! circuit is given up, and the opener [resumes](Stream::resume) the stream over another one under keys that
//! never were used. What the far end has not acknowledged is kept until then, within a bound, and so is a
//! stream without a circuit, for [`RESUME_MS`] and [`KEPT_MS`].
//!
//! Who owns what: the shell moves frames between [`Stream::poll_transmit`] and
//! [`Stream::handle_frame`] of the two ends, calls [`Stream::handle_timeout`] when
//! [`Stream::next_timeout`] says so, and gives the stream new circuits.

mod attachment;
mod chunks;
mod frame;
mod keys;
mod open;
mod receiving;
mod sending;

pub use keys::Cipher;
pub use open::{OpenStream, Purpose, Resume, StreamId};

use bytes::{Bytes, BytesMut};
use rand::{CryptoRng, RngCore};
use thiserror::Error;

use attachment::Attachment;
use frame::Note;
use keys::{ResumeSecret, Share, StreamSecret};
use receiving::Receiving;
use sending::Sending;

/// A sealed frame at most, in bytes.
pub const MAX_FRAME_BYTES: usize = 32_768;
/// What an end may send before it has heard of the other: the first bytes travel with the command.
pub const INITIAL_GRANT_BYTES: u64 = 65_536;
/// What an end takes beyond what its reader has read; as much is kept for sending again.
pub const WINDOW_BYTES: u64 = 1 << 20;
/// Frames that one key seals at most: 2 GiB.
pub const REKEY_FRAMES: u64 = 1 << 16;
/// An opener that has sent nothing for so long asks for a sign of life.
pub const KEEP_ALIVE_MS: u64 = 30_000;
/// A circuit on which nothing came for so long, though something had to, is given up.
pub const ANSWER_MS: u64 = 15_000;
/// An accepter that has heard nothing for so long gives its circuit up: two signs of life are missing.
pub const SILENCE_MS: u64 = 2 * KEEP_ALIVE_MS + ANSWER_MS;
/// How long an opener tries to resume before the stream is lost.
pub const RESUME_MS: u64 = 60_000;
/// How long an accepter waits for that: the opener may not know yet that there is something to resume.
pub const KEPT_MS: u64 = KEEP_ALIVE_MS + ANSWER_MS + RESUME_MS;
/// An acknowledgement waits so long for something that it could travel with.
pub const ACK_DELAY_MS: u64 = 25;

/// Why a stream is over before its time. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Reset {
    /// The program at the far end broke off.
    #[error("the far end broke off")]
    Aborted,
    /// No circuit could be had in time.
    #[error("the connection was lost and could not be resumed in time")]
    Lost,
    /// The far end sent what it must not.
    #[error("the far end broke the protocol")]
    Protocol,
    /// The far end can't do what was asked.
    #[error("the far end does not do that")]
    Unsupported,
    /// The far end has no room now.
    #[error("the far end is busy")]
    Busy,
    /// The bridge's or the service's policy is against it.
    #[error("the policy of the far end is against it")]
    Denied,
    /// The name does not exist.
    #[error("there is no such host")]
    NoSuchHost,
    /// The host can't be reached.
    #[error("the host can't be reached")]
    Unreachable,
    /// The host refused the connection.
    #[error("the host refused the connection")]
    Refused,
    /// The host did not answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// The far end does not know the stream any more.
    #[error("the far end does not know the stream any more")]
    Unknown,
    /// The far end stops.
    #[error("the far end is stopping")]
    Stopping,
}

impl Reset {
    const ALL: [(u8, Self); 12] = [
        (1, Self::Aborted),
        (2, Self::Lost),
        (3, Self::Protocol),
        (4, Self::Unsupported),
        (5, Self::Busy),
        (6, Self::Denied),
        (7, Self::NoSuchHost),
        (8, Self::Unreachable),
        (9, Self::Refused),
        (10, Self::TimedOut),
        (11, Self::Unknown),
        (12, Self::Stopping),
    ];

    fn to_byte(self) -> u8 {
        let found = Self::ALL.iter().find(|(_, reset)| *reset == self);
        found.map_or(1, |(byte, _)| *byte)
    }

    /// An unknown number is a reset all the same.
    fn from_byte(byte: u8) -> Self {
        let found = Self::ALL.iter().find(|(number, _)| *number == byte);
        found.map_or(Self::Aborted, |(_, reset)| *reset)
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both ends have finished and know that all has arrived.
    Finished,
    /// This end gave it up.
    ResetHere(Reset),
    /// The far end gave it up.
    ResetThere(Reset),
}

/// Why a frame is not taken; the circuit that it came over is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// There is no circuit.
    #[error("the stream has no circuit")]
    Detached,
    /// It is shorter than a frame can be, or longer.
    #[error("the frame is too short or too long")]
    Length,
    /// It was altered, or is of another stream.
    #[error("the frame does not verify")]
    Forged,
    /// One before it is missing.
    #[error("a frame is missing")]
    Gap,
    /// The far end itself broke the protocol; the stream is over.
    #[error("the far end broke the protocol")]
    Protocol,
}

/// Why a stream is not resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It never got as far as having anything to resume with.
    #[error("the stream has not been answered yet")]
    Unanswered,
    /// It is over.
    #[error("the stream is over")]
    Over,
    /// Whoever asks does not know what only the opener knows.
    #[error("the proof is wrong")]
    Denied,
    /// The opener claims to have received what was never sent.
    #[error("the position is impossible")]
    Position,
}

/// Which end of a stream this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Opener,
    Accepter,
}

/// One end of a stream.
#[derive(Debug)]
pub struct Stream {
    role: Role,
    id: StreamId,
    cipher: Cipher,
    attachment: Option<Attachment>,
    /// Since when it has had none, or none over which the far end was heard.
    cut_off_ms: Option<u64>,
    /// What the next resumption proves itself by.
    secret: Option<ResumeSecret>,
    /// The one before, until the opener is known to have the new one.
    former: Option<ResumeSecret>,
    sending: Sending,
    receiving: Receiving,
    /// The accepter has done what was asked.
    opened: bool,
    opened_to_tell: bool,
    reset_to_tell: Option<Reset>,
    end: Option<End>,
}

impl Stream {
    /// Makes the opener's end and the command that opens the other one.
    #[must_use]
    pub fn open(
        purpose: Purpose,
        cipher: Cipher,
        now_ms: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> (Self, OpenStream) {
        let (secret, share) = (StreamSecret::random(rng), Share::random(rng));
        let open = OpenStream {
            cipher,
            secret: secret.clone(),
            share: share.public(),
            purpose,
        };
        let id = secret.id();
        let attachment = Attachment::opener(&secret, None, share, cipher, now_ms);
        (Self::new(Role::Opener, id, cipher, attachment), open)
    }

    /// Makes the accepter's end; `None` if the opener's share is none. What a [`Purpose::Resume`] is about has an end
    /// already: see [`Self::reattach`].
    ///
    /// # Security
    /// The caller has made sure that the command was never obeyed before ([`crate::freshness`]); that is what lets the
    /// first bytes travel with it.
    #[must_use]
    pub fn accept(
        open: &OpenStream,
        cipher: Cipher,
        now_ms: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Option<Self> {
        let cipher = open.cipher.common(cipher);
        let (attachment, secret) = Attachment::accepter(open, None, cipher, now_ms, rng)?;
        let mut stream = Self::new(Role::Accepter, open.secret.id(), cipher, attachment);
        stream.secret = Some(secret);
        Some(stream)
    }

    fn new(role: Role, id: StreamId, cipher: Cipher, attachment: Attachment) -> Self {
        Self {
            role,
            id,
            cipher,
            attachment: Some(attachment),
            cut_off_ms: None,
            secret: None,
            former: None,
            sending: Sending::default(),
            receiving: Receiving::default(),
            opened: false,
            opened_to_tell: false,
            reset_to_tell: None,
            end: None,
        }
    }

    /// What both ends call the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Says whether the accepter has done what was asked, as far as this end knows.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        self.opened
    }

    /// Says whether the far end has been heard over any circuit, so that the stream can outlive it.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.secret.is_some() && self.end.is_none()
    }

    /// Says whether the stream has no circuit and could use one.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.attachment.is_none() && self.end.is_none()
    }

    /// Says whether the far end was heard over the circuit that the stream has.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.attachment.is_some() && self.cut_off_ms.is_none() && self.secret.is_some()
    }

    /// Says whether the stream has a circuit. What it had is to be closed as soon as it has none.
    #[must_use]
    pub fn has_circuit(&self) -> bool {
        self.attachment.is_some()
    }

    /// How the stream ended, if it has. What had arrived by then can still be read.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Says whether nothing is left to be told to the far end over the circuit it has.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let has_word = self.attachment.as_ref().is_some_and(Attachment::has_hello);
        self.end.is_some()
            && (self.attachment.is_none() || (self.reset_to_tell.is_none() && !has_word))
    }

    /// Bytes that [`Self::write`] takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.end.is_some() {
            return 0;
        }
        self.sending.room()
    }

    /// Takes bytes to send, whole or not at all: false if they are more than there is [room](Self::room) for, or this end
    /// has finished.
    #[must_use]
    pub fn write(&mut self, bytes: Bytes) -> bool {
        self.end.is_none() && self.sending.write(bytes)
    }

    /// Sends nothing more after what was written; the other direction stays open.
    pub fn finish(&mut self) {
        self.sending.finish();
    }

    /// Says whether all that was written, and the end of it if it was finished, has arrived.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.sending.is_acknowledged()
    }

    /// The next bytes in order, up to `most_bytes`; `None` if there are none now.
    #[must_use]
    pub fn read(&mut self, most_bytes: usize) -> Option<Bytes> {
        self.receiving.read(most_bytes)
    }

    /// Says whether this end has finished and has read all that the far end sent, so that nobody is needed here any more.
    #[must_use]
    pub fn is_closed_here(&self) -> bool {
        self.end.is_some() || (self.sending.is_finished() && self.receiving.is_read_out())
    }

    /// Says whether the far end has finished and all of it was read.
    #[must_use]
    pub fn is_read_out(&self) -> bool {
        self.receiving.is_read_out()
    }

    /// Says that the accepter has done what was asked.
    pub fn opened(&mut self) {
        if self.role == Role::Accepter && !self.opened {
            (self.opened, self.opened_to_tell) = (true, true);
        }
    }

    /// Gives the stream up, in both directions at once. The far end is told, if there is a circuit.
    pub fn reset(&mut self, reset: Reset) {
        if self.end.is_none() {
            self.close(End::ResetHere(reset));
            self.reset_to_tell = Some(reset);
        }
    }

    /// The circuit is of no more use.
    pub fn detach(&mut self, now_ms: u64) {
        if self.attachment.take().is_none() {
            return;
        }
        self.cut_off_ms.get_or_insert(now_ms);
        self.sending.rewind();
        if self.secret.is_none() {
            self.close(End::ResetHere(Reset::Lost));
        }
    }

    fn close(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            if end != End::Finished {
                self.sending.clear();
            }
        }
    }

    /// Both directions have come to their end, and nothing is left to say.
    fn finish_if_done(&mut self) {
        if self.sending.is_over() && self.receiving.has_all() && !self.receiving.owes() {
            self.close(End::Finished);
        }
    }

    /// The command that resumes the stream over a new circuit; the old one, if any, is given up.
    ///
    /// # Errors
    /// [`ResumeError::Unanswered`] or [`ResumeError::Over`]; also for an accepter, whose part it is not.
    pub fn resume(
        &mut self,
        now_ms: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<OpenStream, ResumeError> {
        if self.end.is_some() {
            return Err(ResumeError::Over);
        }
        let former = match (&self.secret, self.role) {
            (Some(secret), Role::Opener) => secret.clone(),
            _ => return Err(ResumeError::Unanswered),
        };
        if self.attachment.is_some() {
            self.detach(now_ms);
        }
        let (secret, share) = (StreamSecret::random(rng), Share::random(rng));
        let resume = former.ask(self.id, &secret, self.receiving.received());
        let open = OpenStream {
            cipher: self.cipher,
            secret: secret.clone(),
            share: share.public(),
            purpose: Purpose::Resume(resume),
        };
        let attachment = Attachment::opener(&secret, Some(&former), share, self.cipher, now_ms);
        self.attachment = Some(attachment);
        Ok(open)
    }

    /// Takes a new circuit that the opener resumes the stream over. A stream that is over says how it ended once more.
    ///
    /// # Errors
    /// [`ResumeError`]; the stream is as it was then.
    pub fn reattach(
        &mut self,
        open: &OpenStream,
        now_ms: u64,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(), ResumeError> {
        let Purpose::Resume(resume) = &open.purpose else {
            return Err(ResumeError::Denied);
        };
        let former = [&self.secret, &self.former]
            .into_iter()
            .flatten()
            .find(|secret| secret.proves(&open.secret, resume))
            .cloned()
            .ok_or(ResumeError::Denied)?;
        let (attachment, secret) =
            Attachment::accepter(open, Some(&former), self.cipher, now_ms, rng)
                .ok_or(ResumeError::Denied)?;
        if !self.sending.acknowledge(resume.received) {
            return Err(ResumeError::Position);
        }
        self.sending.rewind();
        self.receiving.forget_told(now_ms);
        self.opened_to_tell = self.opened;
        if let Some(End::ResetHere(reset)) = self.end {
            self.reset_to_tell = Some(reset);
        }
        self.attachment = Some(attachment);
        // The opener may never hear of the new one: until it shows that it has, it may come with the one that it
        // used now.
        (self.secret, self.former) = (Some(secret), Some(former));
        Ok(())
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// [`FrameError`]: the circuit is given up then, as by [`Self::detach`], and after
    /// [`FrameError::Protocol`] the stream is.
    pub fn handle_frame(&mut self, frame: BytesMut, now_ms: u64) -> Result<(), FrameError> {
        let outcome = self.take(frame, now_ms);
        match outcome {
            Err(FrameError::Protocol) => self.reset(Reset::Protocol),
            Err(_) => self.detach(now_ms),
            Ok(()) => {}
        }
        outcome
    }

    fn take(&mut self, frame: BytesMut, now_ms: u64) -> Result<(), FrameError> {
        let attachment = self.attachment.as_mut().ok_or(FrameError::Detached)?;
        let Some((note, data)) = attachment.open(frame, now_ms)? else {
            // It came before, and was obeyed then.
            return Ok(());
        };
        self.cut_off_ms = None;
        if let Some(secret) = attachment.resume_secret() {
            self.secret = Some(secret.clone());
        }
        if attachment.is_known_mixed() {
            self.former = None;
        }
        if self.end.is_some() {
            return Ok(());
        }
        if let Some(reset) = note.reset {
            self.close(End::ResetThere(reset));
            return Ok(());
        }
        self.opened |= note.opened && self.role == Role::Opener;
        if !self.sending.acknowledge(note.received) {
            return Err(FrameError::Protocol);
        }
        self.sending.grant(note.granted);
        if self.sending.is_under_way() {
            attachment.wait_from(now_ms);
        }
        let is_more = !data.is_empty() || note.last;
        if is_more && !self.receiving.take(note.offset, data, note.last, now_ms) {
            return Err(FrameError::Protocol);
        }
        self.finish_if_done();
        Ok(())
    }

    /// Appends the next sealed frame to `out`; false if there is nothing to send now.
    ///
    /// A frame that was made must be handed to the circuit, or the circuit be given up.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>, now_ms: u64) -> bool {
        let Some(attachment) = self.attachment.as_mut() else {
            return false;
        };
        let reset = self.reset_to_tell.take();
        let piece = match reset {
            None if self.end.is_none() => self
                .sending
                .next(attachment.room(), attachment.is_unheard()),
            _ => None,
        };
        let owes_word = attachment.owes_word(now_ms)
            || reset.is_some()
            || (self.end.is_none() && (self.opened_to_tell || self.receiving.is_due(now_ms)));
        if piece.is_none() && !owes_word {
            return false;
        }
        let note = Note {
            reset,
            opened: self.opened && self.role == Role::Accepter,
            last: piece.is_some_and(|piece| piece.last),
            offset: piece.map_or(0, |piece| piece.offset),
            received: self.receiving.received(),
            granted: self.receiving.granted(),
        };
        let sending = &self.sending;
        attachment.seal(note, piece.is_some(), now_ms, out, |out| {
            if let Some(piece) = piece {
                sending.copy(&piece, out);
            }
        });
        self.opened_to_tell = false;
        self.receiving.told();
        self.finish_if_done();
        true
    }

    /// When [`Self::handle_timeout`] has something to do at the latest, in Unix milliseconds.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        if self.end.is_some() {
            return None;
        }
        let attachment = self.attachment.as_ref();
        let due = [
            self.lost_at(),
            attachment.map(Attachment::next_timeout),
            attachment.and(self.receiving.due_ms()),
        ];
        due.into_iter().flatten().min()
    }

    /// Does what is due: gives up a circuit that is dead, or a stream that got no other one. What there is to send then,
    /// [`Self::poll_transmit`] has.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.end.is_some() {
            return;
        }
        if self.attachment.as_ref().is_some_and(|a| a.is_dead(now_ms)) {
            self.detach(now_ms);
        }
        if self.lost_at().is_some_and(|at| now_ms >= at) {
            self.close(End::ResetHere(Reset::Lost));
        }
    }

    /// When the stream is lost, if nothing is heard until then.
    fn lost_at(&self) -> Option<u64> {
        let patience_ms = match self.role {
            Role::Opener => RESUME_MS,
            Role::Accepter => KEPT_MS,
        };
        Some(self.cut_off_ms? + patience_ms)
    }
}

#[cfg(test)]
mod tests;
