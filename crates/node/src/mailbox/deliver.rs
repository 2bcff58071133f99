//! Delivery streams: what is kept for a wallet goes to one of its devices, in order, as far as it
//! acknowledges.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailbox::{Cursor, DeviceId, QueueId, StoredPacket};
use protocol::answer::{Answer, Item, ItemSealer, Refusal};
use protocol::command::Ties;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Mailboxes;
use super::owner::refusal_of;
use crate::clock::now_ms;
use crate::config::MAX_STREAMS;
use crate::links::Reply;

/// How often a silent delivery stream shows that the mailbox is alive.
const BEAT_EVERY: Duration = Duration::from_secs(300);
/// Packets read from the store in one go.
const READ_ITEMS: usize = 16;
const READ_BYTES: usize = 256 * 1024;
/// The window that a device may ask for, at most.
const MAX_WINDOW_BYTES: u64 = 16 << 20;
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
        let (to, items) = mpsc::channel(1);
        let to_watch = to.clone();
        let stream = Stream {
            sealer: ItemSealer::new(&ties.answer_key, false),
            to,
            queue,
            device,
            at: start,
            window: u64::from(window_bytes).min(MAX_WINDOW_BYTES),
            under_way: VecDeque::new(),
            acknowledgements,
        };
        self.metrics.streams.inc();
        tokio::spawn(async move {
            let mailboxes = self;
            let (mut stream, reader, cancelled) = (stream, to_watch, cancelled);
            let replaced = tokio::select! {
                biased;
                () = reader.closed() => false,
                () = cancelled.cancelled() => true,
                () = stream.run(&mailboxes, stay) => false,
            };
            if replaced {
                let _gone = stream.send(&Item::Closed { status: REPLACED }).await;
            } else {
                let mut deliveries = mailboxes.deliveries.lock();
                if deliveries.get(&(queue, device)).is_some_and(|d| d.id == id) {
                    deliveries.remove(&(queue, device));
                }
            }
            mailboxes.metrics.streams.dec();
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

struct Stream {
    sealer: ItemSealer,
    to: mpsc::Sender<Bytes>,
    queue: QueueId,
    device: DeviceId,
    /// The last cursor sent.
    at: Cursor,
    window: u64,
    /// Cursor and size of what was sent and not acknowledged.
    under_way: VecDeque<(Cursor, u64)>,
    acknowledgements: watch::Receiver<Cursor>,
}

/// The stream has no reader any more.
struct Gone;

impl Stream {
    async fn run(&mut self, mailboxes: &Mailboxes, stay: bool) {
        let mut arrivals = mailboxes.store.subscribe(self.queue);
        loop {
            loop {
                let read = mailboxes
                    .store
                    .read(self.queue, self.device, self.at, READ_ITEMS, READ_BYTES)
                    .await;
                let packets = match read {
                    Ok(packets) => packets,
                    Err(error) => {
                        tracing::warn!(target: "node::mailbox", %error, "a delivery could not read its queue");
                        return;
                    }
                };
                if packets.is_empty() {
                    break;
                }
                for stored in packets {
                    if self.deliver(stored, mailboxes).await.is_err() {
                        return;
                    }
                }
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
                        if self
                            .send(&Item::Beat {
                                node_time_ms: now_ms(),
                            })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn deliver(&mut self, stored: StoredPacket, mailboxes: &Mailboxes) -> Result<(), Gone> {
        let bytes = stored.packet.len() as u64;
        self.make_room(bytes).await?;
        self.at = stored.cursor;
        self.under_way.push_back((stored.cursor, bytes));
        mailboxes.metrics.delivered.inc();
        let item = Item::Packet {
            cursor: stored.cursor.value(),
            stored_at_ms: stored.stored_at_ms,
            packet: stored.packet,
        };
        self.send(&item).await
    }

    /// Waits until `bytes` more fit the window; one packet always does.
    async fn make_room(&mut self, bytes: u64) -> Result<(), Gone> {
        loop {
            let mark = *self.acknowledgements.borrow_and_update();
            while self
                .under_way
                .front()
                .is_some_and(|(cursor, _)| *cursor <= mark)
            {
                self.under_way.pop_front();
            }
            let sent: u64 = self.under_way.iter().map(|(_, bytes)| bytes).sum();
            if self.under_way.is_empty() || sent + bytes <= self.window {
                return Ok(());
            }
            self.acknowledgements.changed().await.map_err(|_| Gone)?;
        }
    }

    async fn send(&mut self, item: &Item) -> Result<(), Gone> {
        let answer = Answer::Sealed(self.sealer.seal(&item.encode()).into());
        self.to.send(answer.encode().into()).await.map_err(|_| Gone)
    }
}
