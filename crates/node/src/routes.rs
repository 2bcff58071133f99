//! Putting accounts' routes on the ledger: signed by the wallets, paid by the node.
//!
//! One worker sends one transaction after the other. Routes that come
//! while a transaction is under way go together in the next one, as a batch under one root.

use std::sync::Arc;
use std::time::Duration;

use ledger::{NetworkFile, Registrar, RouteBatch, RouteRecord, SignedRoute};
use protocol::answer::Refusal;
use protocol::command::Route;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wallet::WalletSignature;

use crate::metrics::Metrics;

/// Routes that wait for the worker at most.
const QUEUE: usize = 256;
/// Routes in one batch at most.
const MAX_BATCH: usize = 64;
/// How long an asker waits for a block: three of a 12 s chain, and less than a relay waits for us.
const PATIENCE: Duration = Duration::from_secs(40);

struct Job {
    route: SignedRoute,
    done: oneshot::Sender<Result<(), Refusal>>,
}

/// Hands routes to the worker.
#[derive(Clone)]
pub(crate) struct RouteSubmitter {
    jobs: Option<mpsc::Sender<Job>>,
    chain_id: u64,
    registry: wallet::WalletAddress,
}

impl RouteSubmitter {
    /// Starts the worker; the registrar's wallet pays. Without one, routes are refused.
    pub(crate) fn start(
        network: &NetworkFile,
        registrar: Option<Arc<Registrar>>,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        let (chain_id, registry) = (network.chain_id, network.contracts.route_registry);
        let jobs = registrar.map(|registrar| {
            let (jobs, queue) = mpsc::channel(QUEUE);
            tokio::spawn(work(registrar, queue, metrics, shutdown));
            jobs
        });
        Self {
            jobs,
            chain_id,
            registry,
        }
    }

    /// Puts a route on the ledger and waits until it is in a block.
    pub(crate) async fn submit(
        &self,
        route: Route,
        signature: WalletSignature,
    ) -> Result<(), Refusal> {
        let jobs = self.jobs.as_ref().ok_or(Refusal::Unsupported)?;
        let Route {
            wallet,
            fingerprint,
            key_ids,
            mailboxes,
            sequence,
            expiry_s,
        } = route;
        let route = RouteRecord {
            wallet,
            fingerprint,
            key_ids,
            mailboxes,
            sequence,
            expiry_s,
        };
        let route = SignedRoute { route, signature };
        // Nobody makes the node pay for a route that the contract would refuse.
        route
            .verify(self.chain_id, self.registry)
            .map_err(|_| Refusal::Denied)?;
        let (done, outcome) = oneshot::channel();
        jobs.try_send(Job { route, done })
            .map_err(|_| Refusal::Busy)?;
        match tokio::time::timeout(PATIENCE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Err(Refusal::Busy),
        }
    }
}

async fn work(
    registrar: Arc<Registrar>,
    mut queue: mpsc::Receiver<Job>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            job = queue.recv() => match job {
                Some(job) => job,
                None => return,
            },
        };
        let mut jobs = vec![first];
        while jobs.len() < MAX_BATCH {
            match queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break,
            }
        }
        let submitted = match jobs.as_slice() {
            [one] => registrar
                .set_route_by_sig(&one.route)
                .await
                .map_err(|e| e.to_string()),
            many => match RouteBatch::new(many.iter().map(|j| j.route.clone()).collect()) {
                Ok(batch) => registrar
                    .submit_batch(&batch)
                    .await
                    .map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            },
        };
        match submitted {
            Ok(_) => {
                metrics.routes_submitted.inc_by(jobs.len() as u64);
                for job in jobs {
                    let _gone = job.done.send(Ok(()));
                }
            }
            Err(error) => {
                // The reason may name wallets, so it is for the operator's own eyes.
                tracing::warn!(target: "node::routes", routes = jobs.len(), "routes were not put on the ledger");
                tracing::debug!(target: "node::routes", error, "why routes were not put on the ledger");
                for job in jobs {
                    let _gone = job.done.send(Err(Refusal::Failed));
                }
            }
        }
    }
}
