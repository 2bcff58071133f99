//! Delivery streams: what is kept for a wallet goes to one of its devices, in order, as far as it
//! acknowledges.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailbox::{Cursor, DeviceId, QueueId, StoredPacket};
use protocol::answer::{Answer, Item, ItemSealer, Refusal};
use protocol::command::Ties;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Mailboxes;
use super::owner::refusal_of;
use crate::clock::now_ms;
use crate::config::MAX_STREAMS;
use crate::links::{ItemsTo, Reply, items};

/// How often a silent delivery stream shows that the mailbox is alive.
const BEAT_EVERY: Duration = Duration::from_secs(300);
/// Packets read from the store in one go.
const READ_ITEMS: usize = 16;
const READ_BYTES: usize = 256 * 1024;
/// How long a reader may take for an item before what was read for it goes; it is read again then.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// How often a full window looks for what was acknowledged at another process that shares the mailbox.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a replaced stream may take to say so.
const FAREWELL: Duration = Duration::from_secs(2);
/// The window that a device may ask for, at most.
const MAX_WINDOW_BYTES: u64 = 16 << 20;
/// Packets that may be under way, whatever their size.
const MAX_WINDOW_PACKETS: usize = 4_096;
/// The status of a stream that a newer one of the same device replaced.
const REPLACED: u8 = 16;

/// A running delivery; dropping it ends the stream.
pub(super) struct Delivery {
    /// Random; tells this stream's entry from that of one which replaced it.
    id: u64,
    cancelled: CancellationToken,
    acknowledged: watch::Sender<Cursor>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}

impl Mailboxes {
    /// Starts delivering to a device. A stream that the device had before ends.
    pub(super) async fn collect(
        self: Arc<Self>,
        ties: &Ties,
        queue: QueueId,
        device: DeviceId,
        after: Option<Cursor>,
        window_bytes: u32,
        stay: bool,
    ) -> Result<Reply, Refusal> {
        let mark = self
            .store
            .register_device(queue, device, now_ms())
            .await
            .map_err(refusal_of)?;
        let start = after.unwrap_or(mark);
        let cancelled = CancellationToken::new();
        let (acknowledged, acknowledgements) = watch::channel(mark);
        let id = rand::random();
        {
            let mut deliveries = self.deliveries.lock();
            if deliveries.len() >= MAX_STREAMS && !deliveries.contains_key(&(queue, device)) {
                return Err(Refusal::Busy);
            }
            deliveries.insert(
                (queue, device),
                Delivery {
                    id,
                    cancelled: cancelled.clone(),
                    acknowledged,
                },
            );
        }
        let (to, items) = items();
        let stream = Stream {
            sealer: ItemSealer::new(&ties.answer_key, false),
            to: to.clone(),
            queue,
            device,
            at: start,
            under_way: UnderWay::new(window_bytes),
            acknowledgements,
        };
        tokio::spawn(async move {
            let mut stream = stream;
            let _listed = Listed::new(&self, queue, device, id);
            tokio::select! {
                biased;
                () = to.closed() => {}
                () = cancelled.cancelled() => {
                    let farewell = stream.send(&Item::Closed { status: REPLACED });
                    let _gone = tokio::time::timeout(FAREWELL, farewell).await;
                }
                () = stream.run(&self, stay) => {}
            }
        });
        Ok(Reply::Stream(items))
    }

    /// Tells a device's stream that its window has room again.
    pub(super) fn acknowledged(&self, queue: QueueId, device: DeviceId, cursor: Cursor) {
        if let Some(delivery) = self.deliveries.lock().get(&(queue, device)) {
            delivery.acknowledged.send_if_modified(|mark| {
                let rises = cursor > *mark;
                if rises {
                    *mark = cursor;
                }
                rises
            });
        }
    }
}

/// A delivery's entry in the list of those that run, and in their count.
struct Listed<'m> {
    mailboxes: &'m Mailboxes,
    device: (QueueId, DeviceId),
    id: u64,
}

impl<'m> Listed<'m> {
    fn new(mailboxes: &'m Mailboxes, queue: QueueId, device: DeviceId, id: u64) -> Self {
        mailboxes.metrics.streams.inc();
        let device = (queue, device);
        Self {
            mailboxes,
            device,
            id,
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut deliveries = self.mailboxes.deliveries.lock();
        // Another one may have taken its place.
        if deliveries
            .get(&self.device)
            .is_some_and(|d| d.id == self.id)
        {
            deliveries.remove(&self.device);
        }
        self.mailboxes.metrics.streams.dec();
    }
}

struct Stream {
    sealer: ItemSealer,
    to: ItemsTo,
    queue: QueueId,
    device: DeviceId,
    /// The last cursor sent.
    at: Cursor,
    under_way: UnderWay,
    acknowledgements: watch::Receiver<Cursor>,
}

/// What was sent and not acknowledged.
struct UnderWay {
    window: u64,
    bytes: u64,
    packets: VecDeque<(Cursor, u64)>,
}

impl UnderWay {
    fn new(window_bytes: u32) -> Self {
        Self {
            window: u64::from(window_bytes).min(MAX_WINDOW_BYTES),
            bytes: 0,
            packets: VecDeque::new(),
        }
    }

    /// Says whether `bytes` more fit the window; one packet always does.
    fn fits(&self, bytes: u64) -> bool {
        let full = self.packets.len() >= MAX_WINDOW_PACKETS;
        self.packets.is_empty() || (!full && self.bytes + bytes <= self.window)
    }

    fn sent(&mut self, cursor: Cursor, bytes: u64) {
        self.packets.push_back((cursor, bytes));
        self.bytes += bytes;
    }

    fn acknowledged(&mut self, mark: Cursor) {
        while let Some((_, bytes)) = self.packets.pop_front_if(|(cursor, _)| *cursor <= mark) {
            self.bytes -= bytes;
        }
    }
}

/// Why a packet was not sent.
enum NotSent {
    /// The stream has no reader any more.
    Gone,
    /// The reader takes or acknowledges nothing for now.
    Stalled,
}

impl Stream {
    async fn run(&mut self, mailboxes: &Mailboxes, stay: bool) {
        let mut arrivals = mailboxes.store.subscribe(self.queue);
        loop {
            if self.catch_up(mailboxes).await.is_err() {
                return;
            }
            let caught_up = Item::CaughtUp {
                cursor: self.at.value(),
                node_time_ms: now_ms(),
            };
            if self.send(&caught_up).await.is_err() || !stay {
                return;
            }
            loop {
                match tokio::time::timeout(BEAT_EVERY, arrivals.arrived()).await {
                    Ok(Some(_)) => break,
                    Ok(None) => return,
                    Err(_) => {
                        let node_time_ms = now_ms();
                        if self.send(&Item::Beat { node_time_ms }).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Sends all that is kept.
    async fn catch_up(&mut self, mailboxes: &Mailboxes) -> Result<(), Gone> {
        loop {
            let read = mailboxes
                .store
                .read(self.queue, self.device, self.at, READ_ITEMS, READ_BYTES)
                .await;
            let packets = match read {
                Ok(packets) => packets,
                Err(error) => {
                    tracing::warn!(target: "node::mailbox", %error, "a delivery could not read its queue");
                    return Err(Gone);
                }
            };
            if packets.is_empty() {
                return Ok(());
            }
            let mut wanted = 0;
            for stored in packets {
                let bytes = stored.packet.len() as u64;
                match self.deliver(stored, mailboxes).await {
                    Ok(()) => {}
                    Err(NotSent::Gone) => return Err(Gone),
                    Err(NotSent::Stalled) => {
                        wanted = bytes;
                        break;
                    }
                }
            }
            // Thousands of readers may have stopped reading: nothing is held for them meanwhile.
            if wanted > 0 {
                self.make_room(wanted, mailboxes).await?;
                let _ready = self.to.place(wanted as usize).await.map_err(|_| Gone)?;
            }
        }
    }

    async fn deliver(
        &mut self,
        stored: StoredPacket,
        mailboxes: &Mailboxes,
    ) -> Result<(), NotSent> {
        let bytes = stored.packet.len() as u64;
        tokio::time::timeout(STALLED_AFTER, self.make_room(bytes, mailboxes))
            .await
            .map_err(|_| NotSent::Stalled)?
            .map_err(|Gone| NotSent::Gone)?;
        let place = tokio::time::timeout(STALLED_AFTER, self.to.place(stored.packet.len()))
            .await
            .map_err(|_| NotSent::Stalled)?
            .map_err(|_| NotSent::Gone)?;
        let item = Item::Packet {
            cursor: stored.cursor.value(),
            stored_at_ms: stored.stored_at_ms,
            packet: stored.packet,
        };
        place.send(sealed(&mut self.sealer, &item.encode()));
        self.at = stored.cursor;
        self.under_way.sent(stored.cursor, bytes);
        mailboxes.metrics.delivered.inc();
        Ok(())
    }

    /// Waits until `bytes` more fit the window.
    async fn make_room(&mut self, bytes: u64, mailboxes: &Mailboxes) -> Result<(), Gone> {
        loop {
            let mark = *self.acknowledgements.borrow_and_update();
            self.under_way.acknowledged(mark);
            if self.under_way.fits(bytes) {
                return Ok(());
            }
            let changed = self.acknowledgements.changed();
            if !mailboxes.is_shared {
                changed.await.map_err(|_| Gone)?;
                continue;
            }
            // The owner may have told another process.
            match tokio::time::timeout(LOOK_EVERY, changed).await {
                Ok(changed) => changed.map_err(|_| Gone)?,
                Err(_) => {
                    let mark = mailboxes
                        .store
                        .register_device(self.queue, self.device, now_ms())
                        .await
                        .map_err(|_| Gone)?;
                    self.under_way.acknowledged(mark);
                    if self.under_way.fits(bytes) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Seals an item when there is a place for it, so that none is sealed and then lost: the reader
    /// could open nothing after it.
    ///
    /// # Cancel safety
    /// Dropping the future has sent and sealed nothing.
    async fn send(&mut self, item: &Item) -> Result<(), Gone> {
        let item = item.encode();
        let place = self.to.place(item.len()).await.map_err(|_| Gone)?;
        place.send(sealed(&mut self.sealer, &item));
        Ok(())
    }
}

/// The stream has no reader any more, or its queue can't be read.
struct Gone;

fn sealed(sealer: &mut ItemSealer, item: &[u8]) -> Bytes {
    let sealed = sealer.seal(item);
    Answer::Sealed(sealed.into()).encode().into()
}

#[cfg(test)]
mod tests;
