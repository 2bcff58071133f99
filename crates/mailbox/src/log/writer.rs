//! The one thread that writes: it gathers what waits, writes it at once, syncs, then answers.
//!
//! It alone changes the index (readers only give up damaged packets), so that a commit is planned
//! against the state that the commit before it left. Nothing is answered, and no packet readable,
//! before its commit is synced. After a failed sync nobody knows what the disk holds: the writer
//! then refuses everything, and opening the store anew finds out.

mod room;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::command::{Command, Failure, Reply};
use super::compaction::Compaction;
use super::files::Spares;
use super::inbox::Patience;
use super::plan::Expiry;
use super::queue::Recorded;
use super::record::REMOVED_FRAME_LEN;
use super::shared::{Counters, Shared, TARGET};
use crate::disk::{DiskFile, is_out_of_room};
use crate::error::ControlError;
use crate::queue::{Cursor, QueueId};

/// A commit is closed once it has this many bytes; more waits for the next one.
pub(super) const COMMIT_BYTES: u64 = 4 << 20;

/// How long the writer goes without trying again after it found no room.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Bytes of write buffer that are kept between commits.
const BUFFER_KEPT: usize = 8 << 20;

/// The file that is being written.
pub(super) struct Active {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    /// Where the next commit will stand.
    pub(super) used: u64,
    /// Its length, for which the disk has room.
    pub(super) capacity: u64,
}

/// What a change needs before it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// As many spare files as are reserved, without which packets are not taken.
    Spare,
    /// Another file for packets, and the reserved ones besides.
    PacketFile,
    /// Another file for changes that are no packets, and a spare one besides.
    ControlFile,
    /// Another file to carry over what counts of an old one, be it the last.
    FileForRewriting,
}

/// The writer of a store.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Active,
    /// Number of the next commit.
    pub(super) commit: u64,
    buffer: Vec<u8>,
    taken: Vec<Command>,
    pub(super) pending: VecDeque<Command>,
    /// Queues whose state or removal should be written when there is room, though nobody waits for it.
    pub(super) backlog: Vec<QueueId>,
    pub(super) expiries: VecDeque<(u64, Reply<u64, ControlError>)>,
    pub(super) expiry: Option<Expiry>,
    pub(super) compaction: Option<Compaction>,
    pub(super) spares: Spares,
    wanted: Option<Wanted>,
    /// When room was last looked for in vain.
    full_since: Option<Instant>,
    /// Whether nothing can be done before looking again.
    stuck: bool,
    /// Whether somebody waits for a file to be freed, however much of it counts still.
    pub(super) forced: bool,
    /// Whether the file being freed can't be, for want of room.
    blocked: bool,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        active: Active,
        commit: u64,
        backlog: Vec<QueueId>,
        spares: Spares,
    ) -> Self {
        Self {
            shared,
            active,
            commit,
            buffer: Vec::new(),
            taken: Vec::new(),
            pending: VecDeque::new(),
            backlog,
            expiries: VecDeque::new(),
            expiry: None,
            compaction: None,
            spares,
            wanted: None,
            full_since: None,
            stuck: false,
            forced: false,
            blocked: false,
        }
    }

    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let _shut = ShutOnExit(Arc::clone(&self.shared));
        while self.refill() {
            match self.shared.failure.get().map(Arc::clone) {
                None => self.step(),
                Some(error) => self.refuse_all(&error),
            }
        }
    }

    /// Takes what waits; `false` when there is nothing left to do, ever.
    fn refill(&mut self) -> bool {
        let failed = self.shared.failure.get().is_some();
        let patience =
            if !self.pending.is_empty() || !self.expiries.is_empty() || self.expiry.is_some() {
                Patience::None
            } else if failed || !self.has_chores() {
                Patience::Forever
            } else if self.stuck && (self.blocked || self.compaction.is_none()) {
                Patience::For(FULL_PAUSE)
            } else {
                Patience::None
            };
        let open = self.shared.inbox.take(&mut self.taken, patience);
        self.pending.extend(self.taken.drain(..));
        open || !self.pending.is_empty() || self.expiry.is_some() || !self.expiries.is_empty()
    }

    /// Whether there is work that nobody waits for.
    fn has_chores(&self) -> bool {
        !self.backlog.is_empty()
            || self.compaction.is_some()
            || self.shared.index.lock().segments.has_candidates()
    }

    fn refuse_all(&mut self, error: &Arc<io::Error>) {
        for command in self.pending.drain(..) {
            command.fail(Failure::Io(Arc::clone(error)));
        }
        self.expiry = None;
        for (_, reply) in self.expiries.drain(..) {
            drop(reply.send(Err(ControlError::Io(Arc::clone(error)))));
        }
    }

    /// One commit.
    fn step(&mut self) {
        self.stuck = false;
        if let Some(wanted) = self.wanted.take()
            && let Err(error) = self.try_to_make_room(wanted)
        {
            self.give_up(error);
            return;
        }
        let mut batch = Batch::new(self.active.number, self.active.used);
        self.plan_commands(&mut batch);
        self.plan_expiry(&mut batch);
        self.plan_compaction(&mut batch);
        self.plan_backlog(&mut batch);
        self.plan_states(&mut batch);
        match self.write(&batch) {
            Ok(()) => self.publish(batch),
            Err(failure) => self.roll_back(batch, &failure),
        }
    }

    /// Asks for room before the next commit; what matters more comes first.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = self.wanted.max(Some(wanted));
    }

    /// Records queues whose changes somebody waits for.
    fn plan_states(&mut self, batch: &mut Batch) {
        let mut index = self.shared.index.lock();
        for id in std::mem::take(&mut batch.dirty) {
            let Some(queue) = index.queues.get_mut(&id) else {
                continue;
            };
            queue.dirty = false;
            let recorded = Recorded {
                segment: batch.segment(),
                frame_len: queue.record_frame_len(),
                next: queue.next_cursor(),
            };
            batch.state(queue.record(id));
            batch.recorded.push((id, recorded));
        }
        batch.removed.sort_unstable();
        batch.removed.dedup();
        let due = |id: &QueueId| {
            index
                .removed
                .get(id)
                .filter(|removed| removed.recorded_in.is_none())
                .copied()
        };
        let removed = std::mem::take(&mut batch.removed);
        for (id, removed) in removed.into_iter().filter_map(|id| Some((id, due(&id)?))) {
            batch.removal(removed.record(id));
            batch.removed.push(id);
        }
    }

    /// Writes queues from the backlog as far as there is room.
    fn plan_backlog(&mut self, batch: &mut Batch) {
        let shared = Arc::clone(&self.shared);
        let mut index = shared.index.lock();
        while let Some(id) = self.backlog.pop() {
            if !batch.has_room(REMOVED_FRAME_LEN, 2, self.control_limit(&index)) {
                self.backlog.push(id);
                self.want(Wanted::ControlFile);
                return;
            }
            if let Some(queue) = index.queues.get_mut(&id) {
                batch.mark(id, queue);
            }
            if index.removed.contains_key(&id) {
                batch.removed.push(id);
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        batch.encode(
            &self.shared.seal(batch.segment()),
            self.commit,
            &mut self.buffer,
        );
        if let Err(error) = self.active.file.write_at(&self.buffer, batch.start()) {
            // What was written of it must not stand there when the next commit is shorter.
            let undone = self.active.file.set_length(batch.start());
            if !is_out_of_room(&error) || undone.is_err() {
                return Err(self.give_up(error));
            }
            self.full_since = Some(Instant::now());
            return Err(Failure::DiskFull);
        }
        if let Err(error) = self.active.file.sync() {
            return Err(self.give_up(error));
        }
        self.commit += 1;
        self.active.used += batch.len();
        Counters::add(&self.shared.counters.commits, 1);
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Makes known what the commit brought, then answers.
    fn publish(&mut self, batch: Batch) {
        let number = batch.segment();
        let mut news = Vec::with_capacity(batch.touched.len());
        let mut index = self.shared.index.lock();
        for id in &batch.touched {
            if let Some(queue) = index.queues.get_mut(id) {
                news.push((*id, Cursor::new(queue.publish())));
            }
        }
        for (id, recorded) in &batch.recorded {
            if let Some((queue, _, segments)) = index.parts(id) {
                if let Some(before) = queue.recorded.replace(*recorded) {
                    segments.debit(before.segment, u64::from(before.frame_len));
                }
                segments.credit(number, u64::from(recorded.frame_len));
            }
        }
        for id in &batch.removed {
            if let Some(removed) = index.removed.get_mut(id) {
                removed.recorded_in = Some(number);
                index.segments.credit(number, REMOVED_FRAME_LEN as u64);
            }
        }
        for moved in &batch.moves {
            if let Some((queue, _, segments)) = index.parts(&moved.queue) {
                queue.relocate(moved.cursor, moved.from, moved.to, segments);
            }
        }
        let excess = index.segments.remembered > self.shared.config.total_remembered_packets;
        if excess {
            forget_halves(&mut index);
        }
        drop(index);
        Counters::add(&self.shared.counters.appended, batch.touched.len() as u64);
        // Senders wait for the one, nobody for the other.
        batch
            .answers
            .into_iter()
            .for_each(super::command::Answer::send);
        self.shared.notices.announce(&news);
        if let Some(number) = batch.emptied {
            self.free_segment(number);
        }
    }

    /// Takes back a commit that didn't reach the disk.
    fn roll_back(&mut self, batch: Batch, failure: &Failure) {
        let mut index = self.shared.index.lock();
        for id in &batch.touched {
            if let Some((queue, hasher, segments)) = index.parts(id) {
                queue.roll_back(hasher, segments);
            }
        }
        // What was acknowledged or removed stays so in memory; nobody was told, and the next commit writes it.
        self.backlog
            .extend(batch.recorded.iter().map(|(id, _)| *id));
        self.backlog.extend(batch.removed);
        self.backlog.sort_unstable();
        self.backlog.dedup();
        if let Some(compaction) = self.compaction.take() {
            index.segments.put_back(compaction.segment());
        }
        if let Some(number) = batch.emptied {
            index.segments.put_back(number);
        }
        drop(index);
        for answer in batch.answers {
            answer.fail(failure.clone());
        }
    }

    /// Ends writing for good.
    pub(super) fn give_up(&mut self, error: io::Error) -> Failure {
        tracing::error!(target: TARGET, %error, "the store can't be written and refuses all changes until it is opened anew");
        let error = Arc::clone(self.shared.failure.get_or_init(|| Arc::new(error)));
        Failure::Io(error)
    }
}

/// Makes every queue forget the older half of what it remembers.
fn forget_halves(index: &mut super::index::Index) {
    let super::index::Index {
        queues,
        segments,
        hasher,
        ..
    } = index;
    for queue in queues.values_mut() {
        queue.forget(None, queue.remembered() / 2, usize::MAX, hasher, segments);
    }
}

struct ShutOnExit(Arc<Shared>);

impl Drop for ShutOnExit {
    fn drop(&mut self) {
        self.0.shut();
    }
}
