//! Sends what the user writes: in order, without letting anybody wait.

use std::path::PathBuf;
use std::sync::Arc;

use client::Client;
use client::home::Recipient;
use client::send::{SendError, SendOptions, SendProgress};
use packet::MessageId;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::conversation::{Mark, Ticket};
use crate::failure::{Exit, Failure};

/// Messages that are written but not in the outbox yet.
const WRITTEN: usize = 64;
/// News of messages that nobody has read yet.
const NEWS: usize = 1_024;

/// What the user wants sent.
#[derive(Debug, Clone)]
pub(super) enum Load {
    Text(String),
    File(PathBuf),
}

/// What became of it.
#[derive(Debug)]
pub(super) struct News {
    pub(super) ticket: Ticket,
    pub(super) id: Option<MessageId>,
    pub(super) mark: Mark,
    /// Why it is not sent, if it is not.
    pub(super) trouble: Option<String>,
}

/// The sender of a conversation; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Dispatch {
    written: Option<mpsc::Sender<(Ticket, Load)>>,
    news: mpsc::Receiver<News>,
    worker: JoinSet<()>,
    next: u64,
}

impl Dispatch {
    pub(super) fn start(client: Client, to: Recipient) -> Self {
        let (written, orders) = mpsc::channel(WRITTEN);
        let (reports, news) = mpsc::channel(NEWS);
        let mut worker = JoinSet::new();
        worker.spawn(work(client, to, orders, reports));
        Self {
            written: Some(written),
            news,
            worker,
            next: 0,
        }
    }

    /// Takes something to be sent; `None` if too much waits already.
    pub(super) fn send(&mut self, load: Load) -> Option<Ticket> {
        let ticket = Ticket(self.next);
        self.written.as_ref()?.try_send((ticket, load)).ok()?;
        self.next += 1;
        Some(ticket)
    }

    /// Waits until [`Self::send`] takes something.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) fn has_room(&self) -> impl Future<Output = ()> + use<> {
        let written = self.written.clone();
        async move {
            match &written {
                // Without its other end it never has.
                Some(written) if written.reserve().await.is_ok() => {}
                _ => std::future::pending().await,
            }
        }
    }

    /// The next news; `None` when all is done and nothing more will be sent.
    ///
    /// # Cancel safety
    /// None is lost.
    pub(super) async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Nothing more will be sent.
    pub(super) fn close(&mut self) {
        self.written = None;
    }

    /// Ends at once; what is in the outbox stays there.
    pub(super) async fn stop(mut self) {
        self.worker.shutdown().await;
    }
}

/// Starts to send one after the other: the next when the one before is in the outbox.
async fn work(
    client: Client,
    to: Recipient,
    mut orders: mpsc::Receiver<(Ticket, Load)>,
    reports: mpsc::Sender<News>,
) {
    let mut sending = JoinSet::new();
    while let Some((ticket, load)) = orders.recv().await {
        while sending.try_join_next().is_some() {}
        let (queued, is_queued) = oneshot::channel();
        sending.spawn(send(
            client.clone(),
            to.clone(),
            ticket,
            load,
            queued,
            reports.clone(),
        ));
        // Also goes on if it could not be queued: then the other end is dropped.
        let _ = is_queued.await;
    }
    while sending.join_next().await.is_some() {}
}

async fn send(
    client: Client,
    to: Recipient,
    ticket: Ticket,
    load: Load,
    queued: oneshot::Sender<()>,
    reports: mpsc::Sender<News>,
) {
    let (queued, told) = (Mutex::new(Some(queued)), reports.clone());
    let mut options = SendOptions::default();
    options.on_progress = Some(Arc::new(move |progress| {
        let news = match progress {
            SendProgress::Queued { id, .. } => {
                if let Some(queued) = queued.lock().take() {
                    let _ = queued.send(());
                }
                News {
                    ticket,
                    id: Some(id),
                    mark: Mark::Waiting,
                    trouble: None,
                }
            }
            SendProgress::Waiting { reason, .. } => News {
                ticket,
                id: None,
                mark: Mark::Waiting,
                trouble: Some(reason),
            },
            _ => return,
        };
        // News of less weight: whoever does not read them misses nothing.
        let _ = told.try_send(news);
    }));
    let sent = match load {
        Load::Text(text) => client.send_text(&to, &text, options).await,
        Load::File(path) => client.send_file(&to, &path, options).await,
    };
    let news = match sent {
        Ok(sent) => News {
            ticket,
            id: Some(sent.id),
            mark: Mark::Stored,
            trouble: None,
        },
        Err(error) => {
            let id = match &error {
                SendError::NotYet { id, .. } | SendError::Refused { id, .. } => Some(*id),
                _ => None,
            };
            let failure = Failure::from(error);
            let mark = if failure.exit == Exit::Kept {
                Mark::Waiting
            } else {
                Mark::Failed
            };
            News {
                ticket,
                id,
                mark,
                trouble: Some(failure.message().to_owned()),
            }
        }
    };
    let _ = reports.send(news).await;
}
