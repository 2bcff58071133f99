//! Works on outbox rows: takes them, tries, waits, tries again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use packet::MessageId;
use tokio::time::Instant;

use super::attempt::Sealing;
use super::backoff::pause;
use super::outbox::{millis, senders};
use super::{AttemptError, Outbox, SendError, SendOptions, SendProgress, Sent};
use crate::home::SignOfLife;
use crate::state::{Claim, Finished, OutboxRow, Owner, StateError};

/// How long a row stays claimed by a process that neither renews its claim nor shows that it is dead.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How often a claim is renewed.
const RENEWAL: Duration = Duration::from_secs(20);
/// How often to look whether another process is done.
const POLL: Duration = Duration::from_millis(300);

/// The rows that tasks of this process work on.
pub(super) type Working = Arc<parking_lot::Mutex<HashSet<MessageId>>>;

/// A task's turn at a row, over when it is dropped.
pub(super) struct Turn {
    working: Working,
    id: MessageId,
}

impl Turn {
    pub(super) fn take(working: &Working, id: MessageId) -> Option<Self> {
        working.lock().insert(id).then(|| Self {
            working: Arc::clone(working),
            id,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.working.lock().remove(&self.id);
    }
}

/// A row that is a task's until this is dropped.
pub(super) struct Held {
    pub(super) row: Box<OutboxRow>,
    pub(super) _turn: Option<Turn>,
    /// What its first attempt may send.
    pub(super) sealing: Option<Sealing>,
}

/// The answer to a claim within this process.
#[expect(
    clippy::large_enum_variant,
    reason = "one is alive at a time, with whoever works on the row"
)]
pub(super) enum Claimed {
    Taken(Held),
    Busy,
    Finished(Finished),
}

impl Outbox {
    /// Works on a row, which may be held already, until it is done, cannot be done or nothing got through for as
    /// long as `patience`.
    pub(super) async fn drive(
        &self,
        id: MessageId,
        mut held: Option<Held>,
        patience: Duration,
        options: &SendOptions,
    ) -> Result<Sent, SendError> {
        let mut deadline = Instant::now() + patience;
        let mut failures = 0;
        loop {
            let claimed = match held.take() {
                Some(held) => Claimed::Taken(held),
                None => self.claim(id, true).await?,
            };
            let mut held = match claimed {
                Claimed::Taken(held) => held,
                Claimed::Finished(Finished::Stored(stored_at)) => {
                    return Ok(Sent { id, stored_at });
                }
                Claimed::Finished(Finished::Failed(reason)) => {
                    return Err(SendError::GivenUp { id, reason });
                }
                Claimed::Busy if Instant::now() >= deadline => {
                    let cause = AttemptError::Elsewhere;
                    return Err(SendError::NotYet { id, cause });
                }
                Claimed::Busy => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let before = held.row.progress.clone();
            let hear = |done, total| options.tell(SendProgress::Stored { done, total });
            let worked = self.work(&mut held, &hear).await;
            let row = &mut held.row;
            let cause = match worked {
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
            self.postpone(row, next).await?;
            drop(held);
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
    pub(super) async fn work(
        &self,
        held: &mut Held,
        hear: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), AttemptError> {
        let (row, sealing) = (&mut held.row, held.sealing.take());
        let (id, to) = (row.id, row.item.to);
        let outcome = tokio::select! {
            outcome = self.attempt(row, sealing, hear) => outcome,
            () = self.keep_lease(id) => Err(AttemptError::Elsewhere),
        };
        let finished = match &outcome {
            Ok(()) => Finished::Stored(row.progress.stored_at.clone()),
            Err(cause) if cause.may_pass() => return outcome,
            Err(cause) => Finished::Failed(cause.in_full()),
        };
        let state = self.account.state();
        let written = state
            .run_at_once(move |state| state.finish(id, to, &finished))
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

    /// Claims a row, from other processes and from other tasks of this one.
    pub(super) async fn claim(&self, id: MessageId, at_once: bool) -> Result<Claimed, StateError> {
        let Some(turn) = Turn::take(&self.working, id) else {
            return Ok(Claimed::Busy);
        };
        Ok(match self.claim_row(id, at_once).await? {
            Claim::Taken(row) => Claimed::Taken(Held {
                row,
                _turn: Some(turn),
                sealing: None,
            }),
            Claim::Busy => Claimed::Busy,
            Claim::Finished(finished) => Claimed::Finished(finished),
        })
    }

    async fn claim_row(&self, id: MessageId, at_once: bool) -> Result<Claim, StateError> {
        let (owner, now_ms) = (self.owner, self.clock.now_ms());
        let senders = senders(&self.account);
        let alive = move |other: &Owner| SignOfLife::is_given(&senders, &hex::encode(other));
        let state = self.account.state();
        state
            .run(move |state| state.claim(id, &owner, now_ms, millis(LEASE), at_once, alive))
            .await
    }

    pub(super) async fn postpone(&self, row: &OutboxRow, wait: Duration) -> Result<(), StateError> {
        let (id, owner, progress) = (row.id, self.owner, row.progress.clone());
        let next_ms = self.clock.now_ms().saturating_add(millis(wait));
        let state = self.account.state();
        state
            .run(move |state| state.postpone(id, &owner, &progress, next_ms))
            .await
    }
}
