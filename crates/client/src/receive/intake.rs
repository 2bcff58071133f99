//! Takes packets in: opens and checks them, writes what they hold, commits all of a batch at once.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use packet::{
    Chunk, ContentType, Envelope, MessageId, OpenError, Opened, Receipt, TransferId, Verified,
};
use protocol::NodeId;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use wallet::Fingerprint;

use super::event::{Sender, Warning, in_full};
use crate::files::{Assemblies, AssemblyError, ChunkOutcome, safe_name};
use crate::home::{Account, ContactBook, ContactFile, Home, HomeError, identity};
use crate::state::{
    Arrival, ArrivalKind, Batch, Committed, Content, Entry, FileEntry, InboundTransfer, Order,
    Party, Reply,
};
use crate::upkeep::IDENTITY;
use crate::wall_clock::WallClock;

/// Receipts wait that long, so that they tell less of when their sender is there.
const RECEIPT_DELAY_MS: std::ops::RangeInclusive<u64> = 1_000..=30_000;
/// Sequence numbers beyond are not put in order: nobody counts that far.
const MAX_SEQUENCE: u64 = 1 << 48;
/// Warnings of one batch at most; who floods a mailbox must not flood the screen.
const MAX_WARNINGS: usize = 4;

/// A packet as a mailbox delivers it.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) cursor: u64,
    pub(super) stored_at_ms: u64,
    pub(super) packet: Bytes,
    /// What came of opening it before its turn; `None` if that was not tried.
    pub(super) opened: Option<Result<Opened, OpenError>>,
}

/// What a batch brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) committed: Committed,
    /// Places in senders' sessions that nothing will be shown for.
    pub(super) silent: Vec<(Party, Order)>,
    pub(super) warnings: Vec<Warning>,
}

/// Why a batch could not be taken; it is not acknowledged and comes again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum IntakeError {
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Takes in what mailboxes deliver; one for each account and home.
#[derive(Debug)]
pub(super) struct Intake {
    account: Arc<Account>,
    contacts: ContactFile,
    clock: WallClock,
    receipts: bool,
    assemblies: Assemblies,
}

/// A batch while it is put together.
#[derive(Default)]
struct Open {
    batch: Batch,
    taken: Taken,
}

impl Intake {
    pub(super) fn new(
        home: &Home,
        account: Arc<Account>,
        receipts: bool,
    ) -> Result<Self, HomeError> {
        let folder: PathBuf = account.folder().join("partial");
        Ok(Self {
            contacts: home.contact_file(),
            clock: home.clock().clone(),
            receipts,
            assemblies: Assemblies::in_folder(folder)?,
            account,
        })
    }

    /// Takes a batch of one mailbox in; on return all of it is durable.
    pub(super) fn take(
        &mut self,
        mailbox: NodeId,
        delivered: Vec<Delivered>,
    ) -> Result<Taken, IntakeError> {
        let Some(cursor) = delivered.last().map(|last| last.cursor) else {
            return Ok(Taken::default());
        };
        let taken = self.try_take(mailbox, cursor, delivered);
        if taken.is_err() {
            // What is in memory may be ahead of what is durable.
            self.assemblies.forget();
        }
        taken
    }

    fn try_take(
        &mut self,
        mailbox: NodeId,
        cursor: u64,
        delivered: Vec<Delivered>,
    ) -> Result<Taken, IntakeError> {
        let book = self.contacts.read()?;
        let mut open = Open::default();
        for item in delivered {
            self.take_one(item, &book, &mut open)?;
        }
        self.assemblies.sync().map_err(AssemblyError::File)?;
        let state = self.account.state();
        let now_ms = self.clock.now_ms();
        let committed = state.commit(mailbox, cursor, &open.batch, now_ms);
        open.taken.committed = committed.map_err(AssemblyError::State)?;
        self.assemblies.committed();
        Ok(open.taken)
    }

    fn take_one(
        &mut self,
        mut item: Delivered,
        book: &ContactBook,
        open: &mut Open,
    ) -> Result<(), IntakeError> {
        let identity = self.account.identity()?;
        let opened = match item.opened.take() {
            // A packet before it may have brought the key.
            None | Some(Err(OpenError::NotForMe)) => packet::open(&item.packet, &identity.secret),
            Some(opened) => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if matches!(error, OpenError::NotForMe) && !identity.standing.shared {
                    // Somebody has newer keys of the wallet, perhaps: from now on that is looked at before this
                    // device replaces them by its own.
                    self.account.change_identity(|identity| {
                        identity.standing.shared = true;
                        Ok(())
                    })?;
                }
                open.taken.warn(Warning::Unreadable {
                    reason: unreadable(&error),
                });
                return Ok(());
            }
        };
        let party = match &opened.verified {
            Verified::Wallet { wallet, .. } => Party::Wallet(*wallet),
            Verified::OpenPgp { fingerprint } => Party::OpenPgp(*fingerprint),
            _ => Party::Nobody,
        };
        if party
            .wallet()
            .is_some_and(|wallet| book.is_blocked(&wallet))
        {
            return Ok(());
        }
        match &opened.envelope {
            Some(envelope) => self.take_envelope(party, &opened, envelope, book, open),
            None => self.take_foreign(party, &item, &opened, open),
        }
    }

    fn take_envelope(
        &mut self,
        party: Party,
        opened: &Opened,
        envelope: &Envelope,
        book: &ContactBook,
        open: &mut Open,
    ) -> Result<(), IntakeError> {
        let order = (envelope.sequence <= MAX_SEQUENCE)
            .then(|| Order::new(envelope.session, envelope.sequence));
        let id = envelope.message_id;
        if envelope.content_type == IDENTITY && party.wallet() == Some(self.account.address()) {
            return self.take_identity(&envelope.body);
        }
        match ContentType::parse(&envelope.content_type) {
            ContentType::Chunk => {
                open.taken.silent.extend(order.map(|order| (party, order)));
                let Ok(chunk) = Chunk::decode(&envelope.body) else {
                    open.taken.warn(Warning::Unreadable {
                        reason: "a part of a file is malformed".to_owned(),
                    });
                    return Ok(());
                };
                self.take_chunk(party, envelope, &chunk, book, open)
            }
            ContentType::Receipt => {
                open.taken.silent.extend(order.map(|order| (party, order)));
                // A receipt proves nothing unless its sender is known to be the recipient.
                if let (Party::Wallet(_), Ok(receipt)) = (party, Receipt::decode(&envelope.body)) {
                    open.batch.arrivals.push(Arrival {
                        party,
                        id,
                        kind: ArrivalKind::Receipt { ids: receipt.ids },
                    });
                }
                Ok(())
            }
            ContentType::Text if std::str::from_utf8(&envelope.body).is_ok() => {
                let text = String::from_utf8_lossy(&envelope.body).into_owned();
                let entry = self.entry(party, opened, envelope, order, Content::Text(text));
                self.arrive(party, id, entry, book, open);
                Ok(())
            }
            kind => {
                let content_type = kind.as_str().to_owned();
                let file = self.keep_file(&party, id, None, Some(content_type), &envelope.body)?;
                let entry = self.entry(party, opened, envelope, order, Content::File(file));
                self.arrive(party, id, entry, book, open);
                Ok(())
            }
        }
    }

    /// Takes over what another device of this wallet says of its subkeys, if it is newer.
    fn take_identity(&self, body: &[u8]) -> Result<(), IntakeError> {
        let wallet = self.account.address();
        let sealed = STANDARD.decode(body).unwrap_or_default();
        let Ok(mut newer) = identity::unseal(&sealed, wallet, self.account.vault()) else {
            return Ok(());
        };
        if newer.binding.sequence <= self.account.identity()?.binding.sequence {
            return Ok(());
        }
        self.account.change_identity(|current| {
            if newer.binding.sequence > current.binding.sequence {
                // Which device this is stays as it is.
                newer.standing.secondary = current.standing.secondary;
                newer.standing.restored = current.standing.restored;
                newer.standing.shared = true;
                *current = newer;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn take_chunk(
        &mut self,
        party: Party,
        envelope: &Envelope,
        chunk: &Chunk,
        book: &ContactBook,
        open: &mut Open,
    ) -> Result<(), IntakeError> {
        let is_contact = party
            .wallet()
            .is_some_and(|wallet| book.of(&wallet).is_some());
        let received_ms = self.clock.now_ms();
        let state = self.account.state();
        let entry = |file| entry_of(party, envelope, received_ms, None, Content::File(file));
        let outcome = self
            .assemblies
            .take(state, &party, chunk, is_contact, entry)?;
        match outcome {
            ChunkOutcome::Nothing => {}
            ChunkOutcome::Progress(transfer) => open.put(*transfer),
            ChunkOutcome::Complete(transfer) => {
                let mut entry = transfer.entry.clone();
                entry.received_ms = received_ms;
                // The transfer's id is the file's: the sender knows no other.
                let id = id_of(chunk.transfer);
                open.put(*transfer);
                self.arrive(party, id, entry, book, open);
            }
            ChunkOutcome::Refused(transfer, why) => {
                open.taken.warn(Warning::FileRefused {
                    from: Sender::of(&party, book),
                    name: safe_name(&chunk.name),
                    reason: why.to_string(),
                });
                open.put(*transfer);
            }
        }
        Ok(())
    }

    /// Takes a stock OpenPGP program's message.
    fn take_foreign(
        &mut self,
        party: Party,
        item: &Delivered,
        opened: &Opened,
        open: &mut Open,
    ) -> Result<(), IntakeError> {
        // It has no id of its own: the packet's hash names it, as often as it comes.
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(Sha256::digest(&item.packet)) {
            *to = from;
        }
        let id = MessageId::from_bytes(id);
        let content = match std::str::from_utf8(&opened.body) {
            Ok(text) if opened.name.is_none() => Content::Text(text.to_owned()),
            _ => {
                let name = opened.name.as_deref();
                Content::File(self.keep_file(&party, id, name, None, &opened.body)?)
            }
        };
        let entry = Entry {
            party,
            time_ms: item.stored_at_ms,
            received_ms: self.clock.now_ms(),
            order: None,
            reply: None,
            content,
            claimed: unchecked_issuer(opened),
            stored_at: Vec::new(),
            failure: None,
        };
        open.batch.arrivals.push(Arrival {
            party,
            id,
            kind: ArrivalKind::Message {
                entry: Box::new(entry),
                receipt_due_ms: None,
            },
        });
        Ok(())
    }

    /// Adds a message, with a receipt if its sender is somebody whom the user knows.
    fn arrive(
        &self,
        party: Party,
        id: MessageId,
        entry: Entry,
        book: &ContactBook,
        open: &mut Open,
    ) {
        let known = party
            .wallet()
            .is_some_and(|wallet| book.of(&wallet).is_some());
        let receipt_due_ms = (self.receipts && known).then(|| {
            let delay = rand::thread_rng().gen_range(RECEIPT_DELAY_MS);
            self.clock.now_ms().saturating_add(delay)
        });
        open.batch.arrivals.push(Arrival {
            party,
            id,
            kind: ArrivalKind::Message {
                entry: Box::new(entry),
                receipt_due_ms,
            },
        });
    }

    /// Keeps a body that is shown as a file.
    fn keep_file(
        &self,
        party: &Party,
        id: MessageId,
        name: Option<&str>,
        content_type: Option<String>,
        body: &[u8],
    ) -> Result<FileEntry, IntakeError> {
        let state = self.account.state();
        let tag = state.transfer_tag(party, TransferId::from_bytes(*id.as_bytes()));
        let partial = self
            .assemblies
            .keep_whole(&tag, body)
            .map_err(AssemblyError::File)?;
        Ok(FileEntry {
            name: name.map_or_else(|| format!("message-{id}"), safe_name),
            content_type,
            size: body.len() as u64,
            sha256: Sha256::digest(body).into(),
            partial: Some(partial),
            path: None,
        })
    }

    fn entry(
        &self,
        party: Party,
        opened: &Opened,
        envelope: &Envelope,
        order: Option<Order>,
        content: Content,
    ) -> Entry {
        Entry {
            claimed: unchecked_issuer(opened),
            ..entry_of(party, envelope, self.clock.now_ms(), order, content)
        }
    }
}

fn entry_of(
    party: Party,
    envelope: &Envelope,
    received_ms: u64,
    order: Option<Order>,
    content: Content,
) -> Entry {
    Entry {
        party,
        time_ms: envelope.time_ms,
        received_ms,
        order,
        reply: envelope.reply.as_ref().map(|reply| Reply {
            fingerprint: reply.fingerprint,
            mailboxes: reply.mailboxes.clone(),
        }),
        content,
        claimed: None,
        stored_at: Vec::new(),
        failure: None,
    }
}

/// Who claims to have signed a message whose signature nobody here could check.
fn unchecked_issuer(opened: &Opened) -> Option<Fingerprint> {
    opened
        .issuer
        .filter(|_| opened.verified == Verified::Unsigned)
}

fn id_of(transfer: TransferId) -> MessageId {
    MessageId::from_bytes(*transfer.as_bytes())
}

fn unreadable(error: &OpenError) -> String {
    match error {
        OpenError::NotForMe => {
            "it is sealed to a key that is not here: if another machine has this wallet too, export it there and import it here again"
                .to_owned()
        }
        error => in_full(error),
    }
}

impl Taken {
    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning);
        }
    }
}

impl Open {
    /// Notes how far a transfer is; only the last state of a batch is written.
    fn put(&mut self, transfer: InboundTransfer) {
        let same = self
            .batch
            .transfers
            .iter_mut()
            .find(|t| t.tag == transfer.tag);
        match same {
            Some(earlier) => *earlier = transfer,
            None => self.batch.transfers.push(transfer),
        }
    }
}
