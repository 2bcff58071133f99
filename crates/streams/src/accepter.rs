//! The far ends of streams: who has accepted them finds them again when they are resumed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use protocol::stream::{Cipher, OpenStream, Purpose, StreamId};
use rand::rngs::OsRng;

use crate::circuit::Circuit;
use crate::driver::{Shared, start};
use crate::now_ms;
use crate::stream::Stream;

/// Streams accepted at once.
const MAX_STREAMS: usize = 65_536;

/// Accepts streams, and circuits for those that lost theirs.
#[derive(Debug)]
pub struct Accepter {
    cipher: Cipher,
    streams: Mutex<Known>,
}

/// The streams that can be resumed, and some that are over.
#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<StreamId, Weak<Shared>>,
    /// With so many it is looked through for those that are over: even a name for one keeps its memory.
    look_at: usize,
}

impl Known {
    fn forget_those_that_are_over(&mut self) {
        self.by_id.retain(|_, shared| shared.strong_count() > 0);
        self.look_at = (2 * self.by_id.len()).max(LOOK_FROM);
    }
}

/// Fewer streams than this are not looked through.
const LOOK_FROM: usize = 64;

/// What an opener's command led to.
#[derive(Debug)]
pub enum Accepted {
    /// A stream, for what its command says.
    New(Stream, Purpose),
    /// An old stream has its circuit.
    Resumed,
    /// No such stream is known, or whoever asks has no right to it.
    Unknown,
    /// There are too many.
    Full,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(…)")
    }
}

impl Accepter {
    /// An accepter on a machine that seals fastest with `cipher`.
    #[must_use]
    pub fn new(cipher: Cipher) -> Self {
        Self {
            cipher,
            streams: Mutex::default(),
        }
    }

    /// Streams that are alive.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut streams = self.streams.lock();
        streams.forget_those_that_are_over();
        streams.by_id.len()
    }

    /// Whether a command opens a stream, or goes on with one that is known here: whoever has no circuit for it yet need
    /// not look for one otherwise.
    #[must_use]
    pub fn wants(&self, open: &OpenStream) -> bool {
        match open.purpose() {
            Purpose::Resume(resume) => {
                let streams = self.streams.lock();
                let known = streams.by_id.get(&resume.id);
                known.is_some_and(|shared| shared.strong_count() > 0)
            }
            _ => true,
        }
    }

    /// Takes a command that nobody has obeyed before. `circuit` is called for the circuit that it came with, where
    /// that is wanted.
    pub fn accept(&self, open: &OpenStream, circuit: impl FnOnce() -> Circuit) -> Accepted {
        if let Purpose::Resume(resume) = open.purpose() {
            let known = self.streams.lock().by_id.get(&resume.id).cloned();
            let known = known.and_then(|shared| shared.upgrade());
            let Some(shared) = known else {
                return Accepted::Unknown;
            };
            return match shared.reattach(open, circuit) {
                true => Accepted::Resumed,
                false => Accepted::Unknown,
            };
        }
        {
            let mut streams = self.streams.lock();
            if streams.by_id.len() >= streams.look_at {
                streams.forget_those_that_are_over();
            }
            if streams.by_id.len() >= MAX_STREAMS {
                return Accepted::Full;
            }
        }
        let accepted = protocol::stream::Stream::accept(open, self.cipher, now_ms(), &mut OsRng);
        let Some(core) = accepted else {
            return Accepted::Unknown;
        };
        let id = core.id();
        let stream = start(core, circuit(), None);
        let shared = Arc::downgrade(stream.shared());
        self.streams.lock().by_id.insert(id, shared);
        Accepted::New(stream, open.purpose().clone())
    }
}
