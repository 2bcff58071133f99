//! Frees the room of packets that are gone: a short memory takes the place of each at the servers.
//!
//! Nothing depends on it. What a crash leaves unswept is void by its queue's state, is still known
//! as a duplicate, and goes by itself after the time to live.

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::StreamExt as _;
use mailbox::{PacketHash, QueueId};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::TARGET;
use crate::message::{gone_headers, packet_subject};
use crate::store::is_conflict;

/// Deleted packets that wait to be swept; more are left to their age.
const WAITING_MAX: usize = 1 << 20;

/// Packets that are swept at once.
const AT_ONCE: usize = 64;

/// A packet that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) queue: QueueId,
    pub(crate) hash: PacketHash,
    pub(crate) cursor: u64,
    pub(crate) stored_at_ms: u64,
}

/// Sweeps in the background.
pub(crate) struct Sweeper {
    waiting: Mutex<Option<mpsc::Sender<Gone>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Sweeper {
    pub(crate) fn start(context: jetstream::Context, prefix: String, ttl_ms: u64) -> Self {
        let (waiting, mut gone) = mpsc::channel::<Gone>(WAITING_MAX);
        let task = tokio::spawn(async move {
            let all = futures_util::stream::poll_fn(move |cx| gone.poll_recv(cx));
            all.for_each_concurrent(AT_ONCE, |gone| sweep_one(&context, &prefix, ttl_ms, gone))
                .await;
        });
        Self {
            waiting: Mutex::new(Some(waiting)),
            task: Mutex::new(Some(task)),
        }
    }

    /// Hands packets over; those that find no place are left to their age.
    pub(crate) fn sweep(&self, gone: Vec<Gone>) {
        if let Some(waiting) = &*self.waiting.lock() {
            for gone in gone {
                if waiting.try_send(gone).is_err() {
                    break;
                }
            }
        }
    }

    /// Sweeps what waits, then ends.
    pub(crate) async fn finish(&self) {
        self.waiting.lock().take();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // A panic of the task was reported where it happened.
            drop(task.await);
        }
    }
}

async fn sweep_one(context: &jetstream::Context, prefix: &str, ttl_ms: u64, gone: Gone) {
    let subject = packet_subject(prefix, &gone.queue, &gone.hash);
    let headers = gone_headers(gone.stored_at_ms, gone.cursor, ttl_ms);
    let message = PublishMessage::build()
        .headers(headers)
        .payload(Bytes::new());
    let swept = async { context.send_publish(subject, message).await?.await };
    match swept.await {
        Ok(_) => {}
        // It was swept by another process, removed with its queue, or stored anew.
        Err(error) if is_conflict(&error) => {}
        Err(error) => {
            tracing::debug!(target: TARGET, %error, "the room of a deleted packet is not freed yet");
        }
    }
}
