//! The way into the outbox: what is to be sent becomes a row.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packet::{ContentType, MessageId, SessionId};
use protocol::NodeId;
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::sync::Mutex;
use wallet::WalletAddress;

use super::work::{Held, LEASE, Turn, Working};
use super::{
    FILE_PATIENCE, MAX_COPIES, MAX_TEXT_BYTES, SendError, SendOptions, SendProgress, Sent,
    TEXT_PATIENCE,
};
use crate::carrier::{Carrier, Privacy};
use crate::files;
use crate::home::{Account, Recipient, SignOfLife};
use crate::state::{
    Content, Entry, FileEntry, FileReference, Lease, OutboxItem, OutboxProgress, OutboxRow, Owner,
    Party, StateError, Tag, What,
};
use crate::wall_clock::WallClock;

/// Recipients whose place in this session is remembered; beyond it a new session begins.
const MAX_RECIPIENTS: usize = 10_000;

/// The sending half of a client; clones share it.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(super) account: Arc<Account>,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) clock: WallClock,
    pub(super) owner: Owner,
    /// Shows other processes that the leases of this one count; without it they do until they end.
    _alive: Option<Arc<SignOfLife>>,
    session: Arc<Mutex<Session>>,
    pub(super) working: Working,
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
        let alive = SignOfLife::give(&senders(&account), &hex::encode(owner));
        if let Err(error) = &alive {
            tracing::warn!(target: "client::send", %error, "other processes can't see that this one lives");
        }
        Self {
            _alive: alive.ok().map(Arc::new),
            account,
            carrier,
            clock,
            owner,
            session: Arc::new(Mutex::new(Session::begin())),
            working: Working::default(),
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
        let held = {
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
            let to_seal = item.clone();
            let enqueuing = self.enqueue_held(id, item, None, Some(entry));
            // Begun second, so that it goes on while the disk is at work; it leaves only once the row is durable.
            let sealing = async { self.seal_ahead(id, &to_seal) };
            let (held, sealing) = tokio::join!(biased; enqueuing, sealing);
            let mut held = held?;
            session.next.insert(to.wallet, sequence + 1);
            held.sealing = sealing;
            held
        };
        options.tell(SendProgress::Queued { id, resumed: false });
        let patience = options.patience.unwrap_or(TEXT_PATIENCE);
        self.drive(id, Some(held), patience, options).await
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
        let (id, held) = match self.interrupted(to, &facts).await? {
            (_, Some(id)) => (id, None),
            (tag, None) => {
                let id = MessageId::random(&mut OsRng);
                let (file, entry) = self.new_transfer(to, facts);
                let item = item(to, privacy, options, What::File(file));
                let held = self.enqueue_held(id, item, Some(tag), Some(entry));
                (id, Some(held.await?))
            }
        };
        let resumed = held.is_none();
        options.tell(SendProgress::Queued { id, resumed });
        let patience = options.patience.unwrap_or(FILE_PATIENCE);
        self.drive(id, held, patience, options).await
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
            .run(move |state| state.enqueue(id, &item, tag, entry.as_ref(), now_ms, None))
            .await
    }

    /// As [`Self::enqueue`], for who works on the row at once: it is theirs from the start, without a claim.
    async fn enqueue_held(
        &self,
        id: MessageId,
        item: OutboxItem,
        tag: Option<Tag>,
        entry: Option<Entry>,
    ) -> Result<Held, StateError> {
        let now_ms = self.clock.now_ms();
        let lease = Lease {
            owner: self.owner,
            until_ms: now_ms.saturating_add(millis(LEASE)),
        };
        // Before the row can be seen by others.
        let turn = Turn::take(&self.working, id);
        let state = self.account.state();
        let row = state.run(move |state| {
            state.enqueue(id, &item, tag, entry.as_ref(), now_ms, Some(lease))?;
            Ok(OutboxRow {
                id,
                attempts: 1,
                item,
                progress: OutboxProgress::default(),
            })
        });
        Ok(Held {
            row: Box::new(row.await?),
            _turn: turn,
            sealing: None,
        })
    }
}

/// Where processes that send show that they live.
pub(super) fn senders(account: &Account) -> PathBuf {
    account.folder().join("senders")
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
        claimed: None,
        stored_at: Vec::<NodeId>::new(),
        failure: None,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
