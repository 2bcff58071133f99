//! What goes on beside listening: the outbox, receipts that are due, standing, and forgetting.

use std::time::Duration;

use packet::MessageId;
use rand::rngs::OsRng;
use tokio::sync::{mpsc, watch};

use super::{DAY_MS, Upkeep, UpkeepError, new_session};
use crate::carrier::Privacy;
use crate::receive::{Event, Warning, in_full};
use crate::state::{OutboxItem, StateError, What};

/// How often to look for receipts and rows that are due.
const TICK: Duration = Duration::from_secs(1);
/// How often the wallet's standing is looked after.
const STANDING: Duration = Duration::from_secs(10 * 60);
/// How soon that is tried again after it failed.
const STANDING_AGAIN: Duration = Duration::from_secs(30);
/// How often what is old is forgotten.
const FORGETTING: Duration = Duration::from_secs(60 * 60);

/// How long message ids are remembered: longer than mailboxes keep packets, by far more than two days.
const MEMORY_MS: u64 = 30 * DAY_MS;
/// How long what became of a sent message is kept for those who wait for it.
const OUTCOMES_MS: u64 = 7 * DAY_MS;
/// How long history is kept, and how many messages of it.
const HISTORY_MS: u64 = 5 * 365 * DAY_MS;
const MAX_HISTORY: u32 = 100_000;

/// What was gone through at least once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passes {
    outbox: bool,
    standing: bool,
}

impl Passes {
    /// Whether everything was.
    pub(crate) const fn are_complete(&self) -> bool {
        self.outbox && self.standing
    }
}

impl Upkeep {
    /// Runs until it is dropped; `passed` tells what it has gone through.
    pub(crate) async fn run(
        self,
        notices: mpsc::Sender<Event>,
        flush: bool,
        passed: watch::Sender<Passes>,
    ) {
        let flushing = async {
            loop {
                if flush && let Err(error) = self.outbox.flush().await {
                    let reason = in_full(&error);
                    tracing::warn!(target: "client::send", reason, "the outbox can't be read");
                }
                passed.send_modify(|passes| passes.outbox = true);
                tokio::time::sleep(TICK).await;
            }
        };
        let receipts = async {
            loop {
                if let Err(error) = self.queue_receipts().await {
                    let reason = in_full(&error);
                    tracing::warn!(target: "client::receive", reason, "receipts can't be sent");
                }
                tokio::time::sleep(TICK).await;
            }
        };
        let standing = self.keep_standing(&notices, &passed);
        tokio::join!(flushing, receipts, standing, self.forget());
    }

    async fn keep_standing(&self, notices: &mpsc::Sender<Event>, passed: &watch::Sender<Passes>) {
        let mut told = false;
        loop {
            let pause = match self.maintain().await {
                Ok(()) => {
                    told = false;
                    STANDING
                }
                Err(error) => {
                    let reason = in_full(&error);
                    if !std::mem::replace(&mut told, true) {
                        let _ = notices.try_send(Event::Warning(Warning::Upkeep { reason }));
                    }
                    STANDING_AGAIN
                }
            };
            passed.send_modify(|passes| passes.standing = true);
            tokio::time::sleep(pause).await;
        }
    }

    async fn forget(&self) {
        loop {
            if let Err(error) = self.forget_old().await {
                let reason = in_full(&error);
                tracing::warn!(target: "client::state", reason, "old state can't be removed");
            }
            tokio::time::sleep(FORGETTING).await;
        }
    }

    /// Puts receipts that are due into the outbox, one message for each wallet.
    pub(crate) async fn queue_receipts(&self) -> Result<(), UpkeepError> {
        loop {
            let now_ms = self.now_ms();
            let state = self.account.state();
            let due = state.run(move |state| state.due_receipts(now_ms)).await?;
            let Some(due) = due else { return Ok(()) };
            let book = self.home.contacts()?;
            let contact = book.of(&due.to).filter(|_| !book.is_blocked(&due.to));
            // The user may have forgotten or blocked them meanwhile.
            if let Some(contact) = contact {
                let reply = due.reply;
                let item = OutboxItem {
                    to: due.to,
                    fingerprint: contact.uri.fingerprint,
                    mailboxes: match reply {
                        Some(reply) => reply.mailboxes,
                        None => contact.uri.mailboxes.clone(),
                    },
                    privacy: Privacy::Relayed,
                    copies: 1,
                    signed: true,
                    what: What::Receipt {
                        ids: due.ids.iter().map(|id| *id.as_bytes()).collect(),
                        session: *new_session().as_bytes(),
                        time_ms: now_ms,
                    },
                };
                let id = MessageId::random(&mut OsRng);
                self.outbox.enqueue(id, item, None, None).await?;
            }
            let (to, ids) = (due.to, due.ids);
            state
                .run(move |state| state.drop_receipts(to, &ids))
                .await?;
        }
    }

    /// Removes what is older than anybody needs it.
    pub(crate) async fn forget_old(&self) -> Result<(), StateError> {
        let now_ms = self.now_ms();
        let partials = self.account.folder().join("partial");
        self.account
            .state()
            .run(move |state| {
                state.prune_outbox(now_ms.saturating_sub(OUTCOMES_MS))?;
                state.prune_memory(now_ms.saturating_sub(MEMORY_MS))?;
                state.prune_messages(now_ms.saturating_sub(HISTORY_MS), MAX_HISTORY)?;
                for name in state.give_up_transfers(now_ms.saturating_sub(MEMORY_MS))? {
                    let _ = std::fs::remove_file(partials.join(name));
                }
                Ok(())
            })
            .await
    }
}
