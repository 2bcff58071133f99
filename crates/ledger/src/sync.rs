//! Following the chain: a [`Syncer`] reads the contracts' events into the [`Index`].
//!
//! One *pass* asks one RPC server for the newest block, checks that the last block read is still part
//! of its chain, and reads the events since, stretch by stretch. A server that fails backs off and the
//! next one is asked. What a server may do to the index:
//!
//! | it says | then |
//! | --- | --- |
//! | a head behind ours, on our chain | it lags: ignored |
//! | another chain ID | refused |
//! | our last block is not part of its chain, an older one within 256 blocks is | roll back to that one and read on; if its head is behind ours, only where no other server holds to our chain |
//! | no block we kept is part of its chain | rebuild, if no other server holds to our chain, three passes running |
//!
//! **Trust:** the events themselves are believed, apart from announced batches, whose signatures are
//! checked here. A lying server can withhold or invent single events; name servers you trust first.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::Rng;

use crate::{
    event::Registries,
    index::{BlockId, Index, IndexError, Written},
    network::{DEV_CHAIN_ID, NetworkFile},
    rpc::{Endpoint, EndpointPool, RpcFailure},
};

mod comparison;
mod report;
mod stretch;

pub(crate) use report::Listed;
pub use report::{ServerFailure, SyncError, SyncReport};

use comparison::Comparison;

/// Wait between passes on a development chain, where people watch.
const DEV_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Wait between passes elsewhere: a third of a block.
const POLL_INTERVAL: Duration = Duration::from_secs(4);
/// Stretches read in one pass, so that a pass ends and reports.
const MAX_STRETCHES_PER_PASS: usize = 64;
/// Passes tried again at once because the server's chain changed meanwhile.
const MAX_RETRIES_PER_PASS: usize = 3;
/// A server whose head has stood still for this long is compared with the next one.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// Passes running in which no server may hold to our chain before the index is rebuilt.
const PASSES_BEFORE_REBUILD: u32 = 3;
/// How old the time of the last pass may get on disk while nothing is new, seconds.
const TOUCH_AFTER_S: u64 = 10;

/// Reads the chain into an index.
#[derive(Debug)]
pub struct Syncer {
    index: Index,
    pool: EndpointPool,
    registries: Registries,
    start_block: u64,
    confirmations: u64,
    poll_interval: Duration,
    passes_without_voucher: AtomicU32,
}

/// How a pass with one server ended.
enum Pass {
    /// Blocks were read.
    Advanced(SyncReport),
    /// The server holds to our chain and has nothing new.
    NothingNew { head: u64 },
    /// The server holds to our chain as far as it has come, which is behind us.
    Lagging,
    /// Our last block is not part of the server's chain.
    Diverged {
        /// The newest block we kept that is.
        common: Option<BlockId>,
        /// The server's head is behind ours.
        behind: bool,
    },
}

enum PassError {
    Rpc(RpcFailure),
    Index(IndexError),
    /// The server's chain changed meanwhile.
    Moved,
    /// Another process wrote to the index meanwhile.
    Overtaken,
}

impl From<RpcFailure> for PassError {
    fn from(failure: RpcFailure) -> Self {
        Self::Rpc(failure)
    }
}

impl From<IndexError> for PassError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl Syncer {
    /// Makes a syncer of `index` for the network it was opened with.
    ///
    /// # Errors
    /// [`SyncError::UnusableUrl`] where an RPC URL can't be used.
    pub fn new(index: Index, network: &NetworkFile) -> Result<Self, SyncError> {
        Ok(Self {
            index,
            pool: EndpointPool::new(network).map_err(SyncError::UnusableUrl)?,
            registries: Registries::of(network),
            start_block: network.start_block,
            confirmations: network.confirmations,
            poll_interval: if network.chain_id == DEV_CHAIN_ID {
                DEV_POLL_INTERVAL
            } else {
                POLL_INTERVAL
            },
            passes_without_voucher: AtomicU32::new(0),
        })
    }

    /// Changes the wait between passes: 500 ms on a development chain and 4 s elsewhere, if not set.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Follows the chain, whatever its servers do, until `shutdown` resolves.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut failing = false;
        loop {
            let outcome = tokio::select! {
                biased;
                () = &mut shutdown => return,
                outcome = self.sync_once() => outcome,
            };
            let wait = match &outcome {
                Ok(report) if !report.caught_up && !report.overtaken => Duration::ZERO,
                Ok(_) => self.poll_interval,
                Err(_) => {
                    let retry = self.pool.next_retry().unwrap_or_else(Instant::now);
                    retry
                        .saturating_duration_since(Instant::now())
                        .max(self.poll_interval)
                }
            };
            match outcome {
                Ok(report) if failing => {
                    tracing::info!(target: "ledger::sync", head = report.head, "syncing again");
                    failing = false;
                }
                Err(error) if !failing => {
                    tracing::warn!(target: "ledger::sync", %error, "syncing failed, will try again");
                    failing = true;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(target: "ledger::sync", %error, "syncing still fails")
                }
            }
            // Nodes started together shouldn't ask together.
            let wait = wait.mul_f64(rand::thread_rng().gen_range(0.9..=1.1));
            tokio::select! {
                biased;
                () = &mut shutdown => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Reads what is new, up to 64 stretches of blocks, from the first server that can be used.
    ///
    /// # Errors
    /// [`SyncError`] where no server can be used or the index can't be written.
    ///
    /// # Cancel safety
    /// May be dropped at any time: a stretch is written whole or not at all.
    pub async fn sync_once(&self) -> Result<SyncReport, SyncError> {
        self.blocking(|index| index.refresh()).await?;
        let mut failures = Vec::new();
        let mut nothing_new = None;
        let mut lagging = false;
        let mut diverged = None;
        for endpoint in self.pool.candidates() {
            match self.pass(&endpoint).await {
                Ok(Pass::Advanced(report)) => return Ok(self.vouched(&endpoint, report)),
                Ok(Pass::NothingNew { head }) => {
                    endpoint.succeeded();
                    nothing_new = nothing_new.max(Some(head));
                    if endpoint.stale_for() < STALE_AFTER || self.pool.len() == 1 {
                        break;
                    }
                }
                Ok(Pass::Lagging) => {
                    endpoint.succeeded();
                    lagging = true;
                }
                Ok(Pass::Diverged {
                    common: Some(common),
                    behind: false,
                }) => match self.roll_back(&endpoint, common).await? {
                    Some(report) => return Ok(self.vouched(&endpoint, report)),
                    None => continue,
                },
                Ok(Pass::Diverged { common, .. }) => {
                    diverged.get_or_insert((endpoint, common));
                }
                Err(PassError::Rpc(failure)) => {
                    endpoint.failed();
                    let server = endpoint.label().to_owned();
                    failures.push(ServerFailure { server, failure });
                }
                Err(PassError::Index(error)) => return Err(error.into()),
                Err(PassError::Overtaken) => {
                    return Ok(SyncReport {
                        block: self.index.synced_to().block,
                        head: self.index.synced_to().head,
                        overtaken: true,
                        ..SyncReport::default()
                    });
                }
                Err(PassError::Moved) => {
                    endpoint.failed();
                    let server = endpoint.label().to_owned();
                    let failure = RpcFailure::Malformed {
                        what: "its chain changes all the time",
                    };
                    failures.push(ServerFailure { server, failure });
                }
            }
        }
        match (nothing_new, diverged) {
            (Some(head), _) => {
                self.passes_without_voucher.store(0, Ordering::Relaxed);
                self.note_head(head).await
            }
            (None, _) if lagging => {
                let synced = self.index.synced_to();
                Ok(SyncReport {
                    block: synced.block,
                    head: synced.head,
                    caught_up: true,
                    lagging,
                    ..SyncReport::default()
                })
            }
            (None, Some((endpoint, common))) => self.follow_unopposed(&endpoint, common).await,
            (None, None) => Err(SyncError::NoServer(failures)),
        }
    }

    fn vouched(&self, endpoint: &Endpoint, report: SyncReport) -> SyncReport {
        endpoint.succeeded();
        self.passes_without_voucher.store(0, Ordering::Relaxed);
        report
    }

    /// Follows a server away from our chain, to which no other server holds any more.
    async fn follow_unopposed(
        &self,
        endpoint: &Endpoint,
        common: Option<BlockId>,
    ) -> Result<SyncReport, SyncError> {
        if let Some(common) = common {
            let report = self.roll_back(endpoint, common).await?;
            return report.ok_or(SyncError::OtherChain);
        }
        let passes = self.passes_without_voucher.fetch_add(1, Ordering::Relaxed) + 1;
        if passes < PASSES_BEFORE_REBUILD {
            return Err(SyncError::OtherChain);
        }
        self.passes_without_voucher.store(0, Ordering::Relaxed);
        tracing::warn!(target: "ledger::sync", "the chain is another one: building the index anew");
        let cursor = self.blocking(|index| index.cursor()).await?;
        if self
            .blocking(move |index| index.clear(cursor.revision))
            .await?
            == Written::Conflict
        {
            return Err(SyncError::OtherChain);
        }
        Ok(SyncReport {
            rebuilt: true,
            ..SyncReport::default()
        })
    }

    /// Rolls back to a block that the server's chain has too and reads on from there; none where the
    /// index changed meanwhile.
    async fn roll_back(
        &self,
        endpoint: &Endpoint,
        common: BlockId,
    ) -> Result<Option<SyncReport>, SyncError> {
        tracing::info!(target: "ledger::sync", block = common.number, "the chain was reorganised: rolling back");
        let cursor = self.blocking(|index| index.cursor()).await?;
        let holds = cursor.tip.is_some_and(|tip| tip.number >= common.number)
            && cursor.undo_floor <= common.number;
        if !holds {
            return Ok(None);
        }
        let written = self
            .blocking(move |index| index.roll_back(cursor.revision, common))
            .await?;
        if written == Written::Conflict {
            return Ok(None);
        }
        let report = match self.pass(endpoint).await {
            Ok(Pass::Advanced(report)) => report,
            Err(PassError::Index(error)) => return Err(error.into()),
            // The next pass reads on.
            _ => SyncReport {
                block: Some(common.number),
                ..SyncReport::default()
            },
        };
        Ok(Some(SyncReport {
            rolled_back_to: Some(common.number),
            ..report
        }))
    }

    /// Notes on disk, now and then, that nothing is new.
    async fn note_head(&self, head: u64) -> Result<SyncReport, SyncError> {
        let synced = self.index.synced_to();
        let at_s = now_s();
        if synced.head != head || at_s.saturating_sub(synced.at_s) >= TOUCH_AFTER_S {
            let cursor = self.blocking(|index| index.cursor()).await?;
            // A conflict means that another process has just written the same.
            let _ = self
                .blocking(move |index| index.touch(cursor.revision, head, at_s))
                .await?;
        }
        Ok(SyncReport {
            block: self.index.synced_to().block,
            head,
            caught_up: true,
            ..SyncReport::default()
        })
    }

    /// One pass with one server, tried again where something moved meanwhile.
    async fn pass(&self, endpoint: &Endpoint) -> Result<Pass, PassError> {
        for _ in 0..MAX_RETRIES_PER_PASS {
            match self.try_pass(endpoint).await {
                Err(PassError::Moved) => {}
                outcome => return outcome,
            }
        }
        Err(PassError::Moved)
    }

    async fn try_pass(&self, endpoint: &Endpoint) -> Result<Pass, PassError> {
        let mut cursor = self.blocking(|index| index.cursor()).await?;
        let latest = endpoint.latest().await?;
        if i64::try_from(latest.number).is_err() {
            let what = "a block number beyond 63 bits";
            return Err(RpcFailure::Malformed { what }.into());
        }
        if let Some(tip) = cursor.tip {
            match self.compare(endpoint, &cursor, tip, latest.number).await? {
                Comparison::Same => {}
                Comparison::Lagging => return Ok(Pass::Lagging),
                Comparison::Diverged { common, behind } => {
                    return Ok(Pass::Diverged { common, behind });
                }
            }
        }
        let head = latest.number;
        let target = head.saturating_sub(self.confirmations);
        let mut report = SyncReport {
            block: cursor.tip.map(|tip| tip.number),
            head,
            ..SyncReport::default()
        };
        for _ in 0..MAX_STRETCHES_PER_PASS {
            let from = cursor.tip.map_or(self.start_block, |tip| tip.number + 1);
            if from > target {
                break;
            }
            let advance = self
                .read_stretch(endpoint, cursor.tip, from, target, head)
                .await?;
            report.blocks += advance.tip.number - from + 1;
            report.events += advance.events.len() as u64;
            report.block = Some(advance.tip.number);
            let revision = cursor.revision;
            let tip = advance.tip;
            let written = self
                .blocking(move |index| index.advance(revision, &advance))
                .await?;
            if written == Written::Conflict {
                return Err(PassError::Overtaken);
            }
            cursor.revision += 1;
            cursor.tip = Some(tip);
        }
        if report.blocks == 0 {
            return Ok(Pass::NothingNew { head });
        }
        report.caught_up = report.block == Some(target);
        tracing::debug!(target: "ledger::sync", block = report.block, head, events = report.events, "synced");
        Ok(Pass::Advanced(report))
    }

    /// Does something with the index that waits for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let index = self.index.clone();
        (tokio::task::spawn_blocking(move || work(&index)).await)
            .unwrap_or(Err(IndexError::Interrupted))
    }
}

fn now_s() -> u64 {
    (SystemTime::now().duration_since(UNIX_EPOCH)).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests;
