//! Collects from one mailbox, for as long as the listener lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::Item;
use rand::Rng as _;
use tokio::sync::{Notify, mpsc, watch};

use super::event::{Event, Sender, Warning, in_full};
use super::intake::{Delivered, Intake, IntakeError};
use crate::carrier::{Carrier, Collection, Delivery, RequestError};
use crate::home::{Account, ContactFile, HomeError};
use crate::state::{Order, Party};

/// Bytes that a mailbox may send ahead of acknowledgements: a few of the largest packets.
const WINDOW_BYTES: u32 = 16 << 20;
/// Packets and bytes that are made durable in one go, so that many small ones share one sync.
const MAX_BATCH: usize = 128;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Items that wait to be taken in; a mailbox that ignores the window fills no more memory than these.
const QUEUE: usize = 32;
/// Packets that are being opened at once, while others are made durable.
const OPENED_AT_ONCE: usize = 4;
/// Opened packets that wait to be made durable.
const OPENED: usize = 8;
/// Acknowledgements wait that long for others to join them; jittered, as each is seen by an entry.
const ACK_DELAY_MS: std::ops::RangeInclusive<u64> = 20..=120;
/// When an acknowledgement that did not get through is made again.
const ACK_AGAIN: Duration = Duration::from_secs(10);
/// How long an acknowledgement is tried at the end of a stream.
const LAST_ACK: Duration = Duration::from_secs(20);
/// How long to wait after the first failure, and after many.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Wallets with several mailboxes begin with them one after the other.
const START_JITTER_MS: u64 = 1_500;
/// Failures in a row after which a listener that does not stay gives a mailbox up.
const MAX_FAILURES: u32 = 4;
/// Failures in a row after which the user is told; one may be a node that restarts.
const TELL_AFTER: u32 = 2;

/// Collects from one mailbox.
pub(super) struct Collector {
    pub(super) account: Arc<Account>,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) contacts: ContactFile,
    pub(super) intake: Arc<Mutex<Intake>>,
    pub(super) mailbox: NodeId,
    pub(super) stay: bool,
    pub(super) alone: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) silent: mpsc::Sender<(Party, Order)>,
    pub(super) notices: mpsc::Sender<Event>,
    /// Set once the mailbox has delivered what it kept, or could not be reached.
    pub(super) caught_up: Arc<CaughtUp>,
    /// Whether the user was told that the mailbox can't be reached.
    pub(super) told: AtomicBool,
}

/// Whether a mailbox has delivered what it kept.
#[derive(Debug)]
pub(super) struct CaughtUp {
    set: AtomicBool,
    changed: Arc<Notify>,
}

impl CaughtUp {
    /// Not yet; `changed` hears when it has.
    pub(super) fn not_yet(changed: Arc<Notify>) -> Self {
        Self {
            set: AtomicBool::new(false),
            changed,
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the mailbox ended the stream (status {0})")]
    Closed(u8),
    #[error("what came can't be made durable")]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl Collector {
    pub(super) async fn run(self) {
        if !self.alone {
            let jitter = rand::thread_rng().gen_range(0..START_JITTER_MS);
            tokio::time::sleep(Duration::from_millis(jitter)).await;
        }
        let mut failures = 0;
        loop {
            let mut heard = false;
            let broken = match self.collect(&mut heard).await {
                Ok(()) if !self.stay => break,
                Ok(()) => Broken::Closed(0),
                Err(broken) => broken,
            };
            if heard {
                failures = 0;
            }
            failures += 1;
            if matches!(broken, Broken::Request(RequestError::NotFound)) {
                self.open_again().await;
            }
            self.tell(&broken, failures);
            if !self.stay && failures >= MAX_FAILURES {
                break;
            }
            let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
            let jitter = rand::thread_rng().gen_range(0.5..1.5);
            tokio::time::sleep(doubled.min(LONGEST_PAUSE).mul_f64(jitter)).await;
        }
        self.caught_up.set();
    }

    fn tell(&self, broken: &Broken, failures: u32) {
        let reason = in_full(broken);
        if let Broken::Intake(_) = broken {
            if failures == 1 {
                self.notice(Event::Warning(Warning::NotDurable { reason }));
            }
            return;
        }
        if failures >= TELL_AFTER {
            // Others may have all there is: the user need not wait for this one.
            self.caught_up.set();
        }
        if failures >= TELL_AFTER && !self.told.swap(true, Ordering::Relaxed) {
            self.notice(Event::Warning(Warning::MailboxUnreachable {
                mailbox: self.mailbox,
                reason,
            }));
        }
    }

    /// The mailbox has lost the account: opens it anew. What it kept is lost with it.
    async fn open_again(&self) {
        let Ok(identity) = self.account.identity() else {
            return;
        };
        let opened = self.carrier.open_mailbox(identity.owner(), self.mailbox);
        if let Err(error) = opened.await {
            let reason = in_full(&error);
            tracing::debug!(target: "client::receive", reason, "a mailbox can't be opened again");
        }
    }

    /// Collects until the stream ends; `heard` is set once the mailbox has delivered all that it kept.
    async fn collect(&self, heard: &mut bool) -> Result<(), Broken> {
        let identity = self.account.identity()?;
        let collection = Collection {
            mailbox: self.mailbox,
            device: self.account.device(),
            // The mailbox knows what this device has acknowledged; a cursor of ours would be wrong if the
            // mailbox had to begin anew.
            after: None,
            window_bytes: WINDOW_BYTES,
            stay: self.stay,
        };
        let delivery = self.carrier.collect(identity.owner(), collection).await?;
        let (items_in, items) = mpsc::channel(QUEUE);
        let (ready_in, mut ready) = mpsc::channel(OPENED);
        let (durable, to_acknowledge) = watch::channel(None);
        let pumped = pump(delivery, items_in);
        let opened = open_packets(&self.account, items, ready_in);
        let acknowledged = self.acknowledge(to_acknowledge);
        let taken = async {
            let taken = self.take_items(&mut ready, &durable, heard).await;
            // Tells the others that nothing more comes.
            drop(ready);
            drop(durable);
            taken
        };
        let (pumped, (), taken, ()) = tokio::join!(pumped, opened, taken, acknowledged);
        taken?;
        Ok(pumped?)
    }

    async fn take_items(
        &self,
        items: &mut mpsc::Receiver<Ready>,
        durable: &watch::Sender<Option<u64>>,
        heard: &mut bool,
    ) -> Result<(), Broken> {
        let mut batch = Batch::default();
        while let Some(first) = items.recv().await {
            let mut next = Some(first);
            let mut end = None;
            while let Some(item) = next.take() {
                end = batch.put(item);
                if end.is_some() || batch.is_full() {
                    break;
                }
                next = items.try_recv().ok();
            }
            if let Some(cursor) = self.take_batch(std::mem::take(&mut batch)).await? {
                durable.send_replace(Some(cursor));
            }
            match end {
                Some(End::CaughtUp) => {
                    *heard = true;
                    self.caught_up.set();
                    if self.told.swap(false, Ordering::Relaxed) {
                        let mailbox = self.mailbox;
                        self.notice(Event::Warning(Warning::MailboxBack { mailbox }));
                    }
                }
                Some(End::Closed(status)) => return Err(Broken::Closed(status)),
                None => {}
            }
        }
        Ok(())
    }

    /// Makes a batch durable; returns the cursor to acknowledge.
    async fn take_batch(&self, batch: Batch) -> Result<Option<u64>, Broken> {
        let Some(cursor) = batch.packets.last().map(|last| last.cursor) else {
            return Ok(None);
        };
        let (intake, mailbox) = (Arc::clone(&self.intake), self.mailbox);
        let taken = tokio::task::spawn_blocking(move || intake.lock().take(mailbox, batch.packets));
        let taken = match taken.await {
            Ok(taken) => taken?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        };
        for silent in taken.silent {
            // Only order depends on it, and that waits for 30 s at most.
            let _ = self.silent.try_send(silent);
        }
        for warning in taken.warnings {
            self.notice(Event::Warning(warning));
        }
        self.tell_delivered(taken.committed.delivered);
        if taken.committed.fresh > 0 {
            self.wake.notify_one();
        }
        Ok(Some(cursor))
    }

    fn tell_delivered(&self, delivered: Vec<(wallet::WalletAddress, packet::MessageId)>) {
        if delivered.is_empty() {
            return;
        }
        let book = self.contacts.read().unwrap_or_default();
        let mut left = delivered;
        while let Some((from, _)) = left.first().copied() {
            let (same, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(wallet, _)| *wallet == from);
            left = others;
            self.notice(Event::Receipt {
                from: Sender::of(&Party::Wallet(from), &book),
                ids: same.into_iter().map(|(_, id)| id).collect(),
            });
        }
    }

    /// Tells the mailbox of what has become durable, until nothing more does.
    async fn acknowledge(&self, mut durable: watch::Receiver<Option<u64>>) {
        let mut last = None;
        loop {
            let behind = *durable.borrow_and_update() != last;
            let over = tokio::select! {
                changed = durable.changed() => changed.is_err(),
                // The last one did not get through: a mailbox whose window is full would wait for ever.
                () = tokio::time::sleep(ACK_AGAIN), if behind => false,
            };
            let jitter = rand::thread_rng().gen_range(ACK_DELAY_MS);
            if !over {
                tokio::time::sleep(Duration::from_millis(jitter)).await;
            }
            let cursor = *durable.borrow_and_update();
            if cursor != last && cursor.is_some() {
                // Without it the mailbox delivers again, which changes nothing here.
                let sent = tokio::time::timeout(LAST_ACK, self.acknowledge_one(cursor)).await;
                if matches!(sent, Ok(true)) {
                    last = cursor;
                }
            }
            if over {
                return;
            }
        }
    }

    /// Tries a few times; says whether the mailbox has it.
    async fn acknowledge_one(&self, cursor: Option<u64>) -> bool {
        let (Some(cursor), Ok(identity)) = (cursor, self.account.identity()) else {
            return false;
        };
        for attempt in 0..3 {
            let device = self.account.device();
            let owner = identity.owner();
            match self
                .carrier
                .acknowledge(owner, self.mailbox, device, cursor)
                .await
            {
                Ok(()) => return true,
                Err(error) => {
                    let reason = in_full(&error);
                    tracing::debug!(target: "client::receive", reason, "not acknowledged");
                }
            }
            tokio::time::sleep(FIRST_PAUSE * (1 << attempt)).await;
        }
        false
    }

    /// Tells the user, unless they don't listen: what is durable is told by history too.
    fn notice(&self, event: Event) {
        let _ = self.notices.try_send(event);
    }
}

/// Reads a stream to its end, or until nobody wants more.
async fn pump(
    mut delivery: Box<dyn Delivery>,
    items: mpsc::Sender<Item>,
) -> Result<(), RequestError> {
    loop {
        let next = tokio::select! {
            next = delivery.next() => next?,
            () = items.closed() => return Ok(()),
        };
        let Some(item) = next else { return Ok(()) };
        if items.send(item).await.is_err() {
            return Ok(());
        }
    }
}

/// What a mailbox says, with packets opened.
enum Ready {
    Packet(Box<Delivered>),
    End(End),
}

/// Opens packets, some at once and beside what makes others durable; they keep their order.
async fn open_packets(
    account: &Arc<Account>,
    items: mpsc::Receiver<Item>,
    ready: mpsc::Sender<Ready>,
) {
    let items = stream::unfold(items, |mut items| async {
        let item = items.recv().await?;
        Some((item, items))
    });
    let opened = items
        .map(|item| open_item(Arc::clone(account), item))
        .buffered(OPENED_AT_ONCE);
    tokio::pin!(opened);
    loop {
        let next = tokio::select! {
            next = opened.next() => next,
            () = ready.closed() => return,
        };
        let sent = match next {
            Some(Some(one)) => ready.send(one).await,
            Some(None) => Ok(()),
            None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What an item means here; `None` for one that means nothing.
async fn open_item(account: Arc<Account>, item: Item) -> Option<Ready> {
    let (cursor, stored_at_ms, packet) = match item {
        Item::Packet {
            cursor,
            stored_at_ms,
            packet,
        } => (cursor, stored_at_ms, packet),
        Item::CaughtUp { .. } => return Some(Ready::End(End::CaughtUp)),
        Item::Closed { status } => return Some(Ready::End(End::Closed(status))),
        _ => return None,
    };
    let opening = tokio::task::spawn_blocking(move || {
        let identity = account.identity().ok();
        let opened = identity.map(|identity| packet::open(&packet, &identity.secret));
        Delivered {
            cursor,
            stored_at_ms,
            packet,
            opened,
        }
    });
    match opening.await {
        Ok(delivered) => Some(Ready::Packet(Box::new(delivered))),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Packets that are made durable together.
#[derive(Default)]
struct Batch {
    packets: Vec<Delivered>,
    bytes: usize,
}

/// What ends a batch.
enum End {
    CaughtUp,
    Closed(u8),
}

impl Batch {
    fn put(&mut self, ready: Ready) -> Option<End> {
        match ready {
            Ready::Packet(delivered) => {
                self.bytes += delivered.packet.len();
                self.packets.push(*delivered);
                None
            }
            Ready::End(end) => Some(end),
        }
    }

    fn is_full(&self) -> bool {
        self.packets.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }
}
