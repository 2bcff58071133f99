//! Packets that go from link to link: nothing is kept of them but who asked, and no task waits.

use std::fmt;
use std::sync::Arc;

use packet::SizeClass;
use protocol::answer::{Answer, Refusal};
use protocol::frame::Header;

use super::accept::Serving;

/// A request of an accepted link that waits for its answer on a dialled one.
///
/// **Invariant**: whoever takes it out of there answers it, or drops it where its asker waits no more; both
/// free its name and its room.
pub(super) struct Passing {
    serving: Arc<Serving>,
    request: u64,
    kib: u32,
}

impl Passing {
    pub(super) fn new(serving: Arc<Serving>, request: u64, kib: u32) -> Self {
        Self {
            serving,
            request,
            kib,
        }
    }

    /// Passes an encoded answer back, unread.
    pub(super) fn answer(self, answer: &[u8]) {
        let header = Header::answer(self.request, SizeClass::K4, 0);
        self.serving.queue().insist_on_answer(header, answer);
    }

    /// Answers with what went wrong.
    pub(super) fn refuse(self, refusal: Refusal) {
        self.answer(&Answer::Refused(refusal).encode());
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.serving.passed(self.request, self.kib);
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passing({})", self.request)
    }
}
