//! Empties the outbox: what waits for the same recipient goes one after the other, oldest first.
//!
//! Two messages of one sender that wait for a full mailbox would else race for the room in it, and what was
//! written first could be read last.

use std::time::Duration;

use packet::MessageId;
use tokio::task::JoinSet;

use super::backoff::pause;
use super::outbox::millis;
use super::work::Claimed;
use super::{AttemptError, FlushReport, Outbox};
use crate::carrier::{LookUpError, SubmitError};
use crate::state::{OutboxLane, StateError};

/// Lanes that one flush works on at once.
const LANES_AT_ONCE: usize = 4;

/// What became of a row.
enum Outcome {
    Stored,
    GivenUp,
    /// It waits, for a reason of its own.
    Waits,
    /// Somebody else is sending it.
    Elsewhere,
    /// It waits for something that what comes after it in its lane needs too; and for how long.
    Blocked(Duration),
}

impl Outbox {
    /// Tries each row that is due, and what waits before it for the same recipient.
    pub(crate) async fn flush(&self) -> Result<FlushReport, StateError> {
        let now_ms = self.clock.now_ms();
        self.flush_lanes(now_ms).await
    }

    /// As [`Self::flush`], also with what is not due yet.
    pub(crate) async fn flush_all(&self) -> Result<FlushReport, StateError> {
        self.flush_lanes(u64::MAX).await
    }

    async fn flush_lanes(&self, due_ms: u64) -> Result<FlushReport, StateError> {
        let state = self.account.state();
        let mut lanes = state
            .run(move |state| state.due_lanes(due_ms))
            .await?
            .into_iter();
        let mut report = FlushReport::default();
        let mut running = JoinSet::new();
        loop {
            while running.len() < LANES_AT_ONCE {
                let Some(lane) = lanes.next() else { break };
                let outbox = self.clone();
                running.spawn(async move { outbox.flush_lane(lane).await });
            }
            match running.join_next().await {
                Some(Ok(done)) => {
                    let (stored, failed) = done?;
                    report.stored += stored;
                    report.failed += failed;
                }
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

    /// Tries the rows of a lane in turn; says how many were stored and how many given up.
    async fn flush_lane(&self, lane: OutboxLane) -> Result<(usize, usize), StateError> {
        let (mut stored, mut failed) = (0, 0);
        let mut rows = lane.into_iter();
        while let Some(id) = rows.next() {
            match self.try_row(id).await? {
                Outcome::Stored => stored += 1,
                Outcome::GivenUp => failed += 1,
                Outcome::Waits => {}
                // What follows must not overtake it.
                Outcome::Elsewhere => break,
                Outcome::Blocked(wait) => {
                    let next_ms = self.clock.now_ms().saturating_add(millis(wait));
                    let rest: Vec<MessageId> = rows.collect();
                    let state = self.account.state();
                    state.run(move |state| state.delay(&rest, next_ms)).await?;
                    break;
                }
            }
        }
        Ok((stored, failed))
    }

    /// Tries one row; says whether it was stored or given up, if it was either.
    pub(crate) async fn flush_one(&self, id: MessageId) -> Result<Option<bool>, StateError> {
        Ok(match self.try_row(id).await? {
            Outcome::Stored => Some(true),
            Outcome::GivenUp => Some(false),
            Outcome::Waits | Outcome::Elsewhere | Outcome::Blocked(_) => None,
        })
    }

    async fn try_row(&self, id: MessageId) -> Result<Outcome, StateError> {
        // Whether it is due was seen before; what is before something due is tried though it is not.
        let mut held = match self.claim(id, true).await? {
            Claimed::Taken(held) => held,
            Claimed::Busy => return Ok(Outcome::Elsewhere),
            Claimed::Finished(_) => return Ok(Outcome::Waits),
        };
        let cause = match self.work(&mut held, &|_, _| {}).await {
            Ok(()) => return Ok(Outcome::Stored),
            Err(cause) if !cause.may_pass() => return Ok(Outcome::GivenUp),
            Err(cause) => cause,
        };
        let row = &mut held.row;
        row.progress.trouble = Some(cause.in_full());
        // A full mailbox is emptied when its owner comes, which may be any moment.
        let full = matches!(cause, AttemptError::Submit(SubmitError::QueueFull));
        let wait = pause(row.attempts, full);
        self.postpone(row, wait).await?;
        Ok(if full || is_unreachable(&cause) {
            Outcome::Blocked(wait)
        } else {
            Outcome::Waits
        })
    }
}

/// Whether nothing gets to that recipient at the moment.
fn is_unreachable(cause: &AttemptError) -> bool {
    matches!(
        cause,
        AttemptError::Submit(SubmitError::Unreachable(_))
            | AttemptError::LookUp(LookUpError::Unreachable(_))
    )
}
