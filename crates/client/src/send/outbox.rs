//! Works on outbox rows: takes them, tries, waits, tries again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packet::{ContentType, MessageId, SessionId};
use protocol::NodeId;
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wallet::WalletAddress;

use super::backoff::pause;
use super::{
    AttemptError, FILE_PATIENCE, FlushReport, MAX_COPIES, MAX_TEXT_BYTES, SendError, SendOptions,
    SendProgress, Sent, TEXT_PATIENCE,
};
use crate::carrier::{Carrier, Privacy, SubmitError};
use crate::files;
use crate::home::{Account, Recipient};
use crate::state::{
    Claim, Content, Entry, FileEntry, FileReference, Finished, OutboxItem, OutboxRow, Party,
    StateError, Tag, What,
};
use crate::wall_clock::WallClock;

/// How long a row stays claimed by a process that has died.
const LEASE: Duration = Duration::from_secs(60);
/// How often a claim is renewed.
const RENEWAL: Duration = Duration::from_secs(20);
/// How often to look whether another process is done.
const POLL: Duration = Duration::from_millis(300);
/// Rows that one flush works on at once.
const FLUSHED_AT_ONCE: usize = 4;
/// Rows that one flush takes on at most.
const MAX_FLUSHED: u32 = 256;
/// Recipients whose place in this session is remembered; beyond it a new session begins.
const MAX_RECIPIENTS: usize = 10_000;

/// The sending half of a client; clones share it.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(super) account: Arc<Account>,
    pub(super) carrier: Arc<dyn Carrier>,
    clock: WallClock,
    owner: [u8; 16],
    session: Arc<Mutex<Session>>,
}

/// The sending session of this process, and the next sequence for each recipient.
struct Session {
    id: SessionId,
    next: HashMap<WalletAddress, u64>,
}

impl Session {
    fn begin() -> Self {
        Self {
            id: SessionId::random(&mut OsRng),
            next: HashMap::new(),
        }
    }
}

impl Outbox {
    pub(crate) fn new(account: Arc<Account>, carrier: Arc<dyn Carrier>, clock: WallClock) -> Self {
        let mut owner = [0; 16];
        OsRng.fill_bytes(&mut owner);
        Self {
            account,
            carrier,
            clock,
            owner,
            session: Arc::new(Mutex::new(Session::begin())),
        }
    }

    /// Sends a text; returns when mailboxes have acknowledged it.
    pub(crate) async fn send_text(
        &self,
        to: &Recipient,
        text: &str,
        privacy: Privacy,
        options: &SendOptions,
    ) -> Result<Sent, SendError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(SendError::TextTooLong(text.len()));
        }
        check(options)?;
        let id = MessageId::random(&mut OsRng);
        let time_ms = self.clock.now_ms();
        let entry = entry(to.wallet, time_ms, Content::Text(text.to_owned()));
        {
            // Held until the row is there, so that the order of calls is the order of sequence numbers.
            let mut session = self.session.lock().await;
            if session.next.len() >= MAX_RECIPIENTS {
                *session = Session::begin();
            }
            let sequence = session.next.get(&to.wallet).copied().unwrap_or(0);
            let what = What::Message {
                content_type: ContentType::TEXT.to_owned(),
                text: text.to_owned(),
                session: *session.id.as_bytes(),
                sequence,
                time_ms,
            };
            let item = item(to, privacy, options, what);
            self.enqueue(id, item, None, Some(entry)).await?;
            session.next.insert(to.wallet, sequence + 1);
        }
        options.tell(SendProgress::Queued { id, resumed: false });
        let patience = options.patience.unwrap_or(TEXT_PATIENCE);
        self.drive(id, patience, options).await
    }

    /// Sends a file, or goes on with it where it was interrupted; returns when all of it is acknowledged.
    pub(crate) async fn send_file(
        &self,
        to: &Recipient,
        path: &Path,
        privacy: Privacy,
        options: &SendOptions,
    ) -> Result<Sent, SendError> {
        check(options)?;
        let facts = {
            let (path, options) = (path.to_owned(), options.clone());
            let read = tokio::task::spawn_blocking(move || {
                files::facts(&path, |done, total| {
                    options.tell(SendProgress::Reading { done, total });
                })
            });
            read.await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?
        };
        let (id, resumed) = match self.interrupted(to, &facts).await? {
            (_, Some(id)) => (id, true),
            (tag, None) => {
                let id = MessageId::random(&mut OsRng);
                let (file, entry) = self.new_transfer(to, facts);
                let item = item(to, privacy, options, What::File(file));
                self.enqueue(id, item, Some(tag), Some(entry)).await?;
                (id, false)
            }
        };
        options.tell(SendProgress::Queued { id, resumed });
        let patience = options.patience.unwrap_or(FILE_PATIENCE);
        self.drive(id, patience, options).await
    }

    /// The tag of a transfer, and the transfer itself if it was interrupted.
    async fn interrupted(
        &self,
        to: &Recipient,
        facts: &files::Facts,
    ) -> Result<(Tag, Option<MessageId>), StateError> {
        use std::os::unix::ffi::OsStrExt as _;
        let tag = self.account.vault().tag(
            "outgoing file",
            &[
                to.wallet.as_bytes(),
                facts.path.as_os_str().as_bytes(),
                &facts.size.to_be_bytes(),
                &facts.modified_ns.to_be_bytes(),
                &facts.sha256,
            ],
        );
        let state = self.account.state();
        let id = state.run(move |state| state.waiting_with_tag(&tag)).await?;
        Ok((tag, id))
    }

    fn new_transfer(&self, to: &Recipient, facts: files::Facts) -> (FileReference, Entry) {
        let name = files::file_name(&facts.path);
        let mut session = [0; 8];
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut session);
        OsRng.fill_bytes(&mut seed);
        let time_ms = self.clock.now_ms();
        let shown = FileEntry {
            name: name.clone(),
            content_type: None,
            size: facts.size,
            sha256: facts.sha256,
            partial: None,
            path: Some(facts.path.clone()),
        };
        let file = FileReference {
            path: facts.path,
            name,
            size: facts.size,
            modified_ns: facts.modified_ns,
            sha256: facts.sha256,
            chunk_bytes: files::CHUNK_BYTES,
            session,
            seed,
            time_ms,
        };
        (file, entry(to.wallet, time_ms, Content::File(shown)))
    }

    pub(crate) async fn enqueue(
        &self,
        id: MessageId,
        item: OutboxItem,
        tag: Option<Tag>,
        entry: Option<Entry>,
    ) -> Result<(), StateError> {
        let now_ms = self.clock.now_ms();
        self.account
            .state()
            .run(move |state| state.enqueue(id, &item, tag, entry.as_ref(), now_ms))
            .await
    }

    /// Works on a row until it is done, cannot be done or nothing got through for as long as `patience`.
    async fn drive(
        &self,
        id: MessageId,
        patience: Duration,
        options: &SendOptions,
    ) -> Result<Sent, SendError> {
        let mut deadline = Instant::now() + patience;
        let mut failures = 0;
        loop {
            let mut row = match self.claim(id, true).await? {
                Claim::Taken(row) => row,
                Claim::Finished(Finished::Stored(stored_at)) => return Ok(Sent { id, stored_at }),
                Claim::Finished(Finished::Failed(reason)) => {
                    return Err(SendError::GivenUp { id, reason });
                }
                Claim::Busy if Instant::now() >= deadline => {
                    let cause = AttemptError::Elsewhere;
                    return Err(SendError::NotYet { id, cause });
                }
                Claim::Busy => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let before = row.progress.clone();
            let hear = |done, total| options.tell(SendProgress::Stored { done, total });
            let cause = match self.work(&mut row, &hear).await {
                Ok(()) => {
                    let stored_at = row.progress.stored_at.clone();
                    return Ok(Sent { id, stored_at });
                }
                Err(cause) if !cause.may_pass() => return Err(SendError::Refused { id, cause }),
                Err(cause) => cause,
            };
            if row.progress.chunks != before.chunks || row.progress.stored_at != before.stored_at {
                deadline = Instant::now() + patience;
                failures = 0;
            }
            failures += 1;
            let wait = pause(failures, true);
            let over = Instant::now() + wait > deadline;
            let next = if over {
                pause(row.attempts, false)
            } else {
                wait
            };
            row.progress.trouble = Some(cause.in_full());
            self.postpone(&row, next).await?;
            if over {
                return Err(SendError::NotYet { id, cause });
            }
            options.tell(SendProgress::Waiting {
                reason: cause.in_full(),
                retry_in: wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// One attempt under a lease; a row that ends is finished durably.
    async fn work(
        &self,
        row: &mut OutboxRow,
        hear: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), AttemptError> {
        let (id, to) = (row.id, row.item.to);
        let outcome = tokio::select! {
            outcome = self.attempt(row, hear) => outcome,
            () = self.keep_lease(id) => Err(AttemptError::Elsewhere),
        };
        let finished = match &outcome {
            Ok(()) => Finished::Stored(row.progress.stored_at.clone()),
            Err(cause) if cause.may_pass() => return outcome,
            Err(cause) => Finished::Failed(cause.in_full()),
        };
        let state = self.account.state();
        let written = state
            .run(move |state| state.finish(id, to, &finished))
            .await;
        if let Err(error) = written {
            // The mailbox has it all the same; at worst it is sent again, and shown once.
            tracing::warn!(target: "client::send", %error, "an outbox row could not be ended");
        }
        outcome
    }

    /// Renews the lease on a row for as long as it is ours.
    async fn keep_lease(&self, id: MessageId) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let (owner, now_ms) = (self.owner, self.clock.now_ms());
            let state = self.account.state();
            let renewed = state
                .run(move |state| state.renew(id, &owner, now_ms, millis(LEASE)))
                .await;
            if matches!(renewed, Ok(false)) {
                return;
            }
        }
    }

    async fn claim(&self, id: MessageId, at_once: bool) -> Result<Claim, StateError> {
        let (owner, now_ms) = (self.owner, self.clock.now_ms());
        let state = self.account.state();
        state
            .run(move |state| state.claim(id, &owner, now_ms, millis(LEASE), at_once))
            .await
    }

    async fn postpone(&self, row: &OutboxRow, wait: Duration) -> Result<(), StateError> {
        let (id, owner, progress) = (row.id, self.owner, row.progress.clone());
        let next_ms = self.clock.now_ms().saturating_add(millis(wait));
        let state = self.account.state();
        state
            .run(move |state| state.postpone(id, &owner, &progress, next_ms))
            .await
    }

    /// Tries each row that is due once.
    pub(crate) async fn flush(&self) -> Result<FlushReport, StateError> {
        let now_ms = self.clock.now_ms();
        let state = self.account.state();
        let due = state
            .run(move |state| state.due(now_ms, MAX_FLUSHED))
            .await?;
        self.flush_these(due, false).await
    }

    /// As [`Self::flush`], also with what is not due yet.
    pub(crate) async fn flush_all(&self) -> Result<FlushReport, StateError> {
        let waiting = self.waiting().await?;
        let ids = waiting.into_iter().map(|waiting| waiting.id).collect();
        self.flush_these(ids, true).await
    }

    async fn flush_these(
        &self,
        due: Vec<MessageId>,
        at_once: bool,
    ) -> Result<FlushReport, StateError> {
        let state = self.account.state();
        let mut report = FlushReport::default();
        let mut due = due.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < FLUSHED_AT_ONCE {
                let Some(id) = due.next() else { break };
                let outbox = self.clone();
                running.spawn(async move { outbox.flush_one(id, at_once).await });
            }
            match running.join_next().await {
                Some(Ok(Ok(Some(true)))) => report.stored += 1,
                Some(Ok(Ok(Some(false)))) => report.failed += 1,
                Some(Ok(Ok(None))) => {}
                Some(Ok(Err(error))) => return Err(error),
                Some(Err(error)) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
                None => break,
            }
        }
        report.waiting = state.run(|state| state.waiting()).await?;
        Ok(report)
    }

    /// Says whether the row was stored or given up, if it was either.
    async fn flush_one(&self, id: MessageId, at_once: bool) -> Result<Option<bool>, StateError> {
        let Claim::Taken(mut row) = self.claim(id, at_once).await? else {
            return Ok(None);
        };
        match self.work(&mut row, &|_, _| {}).await {
            Ok(()) => Ok(Some(true)),
            Err(cause) if !cause.may_pass() => Ok(Some(false)),
            Err(cause) => {
                row.progress.trouble = Some(cause.in_full());
                // A full mailbox is emptied when its owner comes, which may be any moment.
                let full = matches!(cause, AttemptError::Submit(SubmitError::QueueFull));
                self.postpone(&row, pause(row.attempts, full)).await?;
                Ok(None)
            }
        }
    }
}

fn check(options: &SendOptions) -> Result<(), SendError> {
    if options.copies > MAX_COPIES {
        return Err(SendError::TooManyCopies(options.copies));
    }
    Ok(())
}

fn item(to: &Recipient, privacy: Privacy, options: &SendOptions, what: What) -> OutboxItem {
    OutboxItem {
        to: to.wallet,
        fingerprint: to.fingerprint,
        mailboxes: to.mailboxes.clone(),
        privacy: options.privacy.unwrap_or(privacy),
        copies: options.copies.max(1),
        signed: !options.anonymous,
        what,
    }
}

fn entry(to: WalletAddress, time_ms: u64, content: Content) -> Entry {
    Entry {
        party: Party::Wallet(to),
        time_ms,
        received_ms: time_ms,
        order: None,
        reply: None,
        content,
        stored_at: Vec::<NodeId>::new(),
        failure: None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
