//! One RPC server and how it has been doing; several of them in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{B256, U64},
    rpc::{
        client::RpcClient,
        json_rpc::{RpcRecv, RpcSend},
        types::{Filter, Log},
    },
    transports::http::reqwest::Url,
};
use parking_lot::Mutex;
use rand::Rng;
use serde::Deserialize;

use super::{RpcFailure, transport};
use crate::network::{MAX_RPC_URLS, NetworkFile};

/// Wait after the first failure; doubles with each further one.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
/// Longest wait after a failure.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);
/// Blocks in the first range of logs that is asked for.
const FIRST_LOG_RANGE: u64 = 2_000;
/// Blocks in the widest range of logs that is asked for: what common servers allow.
pub(crate) const MAX_LOG_RANGE: u64 = 10_000;

/// A block, as far as following the chain needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRef {
    pub(crate) number: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) parent_hash: [u8; 32],
}

/// The RPC servers of a network.
#[derive(Debug)]
pub(crate) struct EndpointPool {
    endpoints: Vec<Arc<Endpoint>>,
}

/// One RPC server.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Host and port: a whole URL may hold secrets.
    label: String,
    chain_id: u64,
    client: RpcClient,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    chain_checked: bool,
    failures: u32,
    retry_at: Option<Instant>,
    head: u64,
    head_rose_at: Instant,
    log_range: u64,
}

impl EndpointPool {
    pub(crate) fn new(network: &NetworkFile) -> Result<Self, RpcFailure> {
        let endpoints = network
            .rpc_urls
            .iter()
            .take(MAX_RPC_URLS)
            .map(|url| Endpoint::new(url, network.chain_id).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { endpoints })
    }

    /// The servers to try, best first: those not backing off in the order of the network file, or
    /// where all are, the one whose wait is over first.
    pub(crate) fn candidates(&self) -> Vec<Arc<Endpoint>> {
        let now = Instant::now();
        let ready: Vec<_> = (self.endpoints.iter())
            .filter(|endpoint| endpoint.retry_at().is_none_or(|at| at <= now))
            .cloned()
            .collect();
        if !ready.is_empty() {
            return ready;
        }
        let soonest = self
            .endpoints
            .iter()
            .min_by_key(|endpoint| endpoint.retry_at());
        soonest.into_iter().cloned().collect()
    }

    /// When the next server can be tried; none if one can be now.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        let now = Instant::now();
        let waits: Option<Vec<_>> = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.retry_at().filter(|at| *at > now))
            .collect();
        waits.and_then(|waits| waits.into_iter().min())
    }

    pub(crate) fn len(&self) -> usize {
        self.endpoints.len()
    }
}

impl Endpoint {
    fn new(url: &str, chain_id: u64) -> Result<Self, RpcFailure> {
        let url = Url::parse(url).map_err(|error| RpcFailure::Unusable(Box::new(error)))?;
        let label = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => "?".to_owned(),
        };
        let local = alloy::transports::utils::guess_local_url(url.as_str());
        Ok(Self {
            label,
            chain_id,
            client: RpcClient::new(transport::BoundedHttp::new(url)?, local),
            health: Mutex::new(Health {
                chain_checked: false,
                failures: 0,
                retry_at: None,
                head: 0,
                head_rose_at: Instant::now(),
                log_range: FIRST_LOG_RANGE,
            }),
        })
    }

    /// Host and port.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Calls a method, after the server has proven once to be of the right chain.
    pub(crate) async fn call<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcFailure> {
        self.check_chain().await?;
        let call = self.client.request::<P, R>(method, params);
        call.await.map_err(transport::failure)
    }

    /// The newest block.
    pub(crate) async fn latest(&self) -> Result<BlockRef, RpcFailure> {
        let block: Option<BlockAnswer> =
            self.call("eth_getBlockByNumber", ("latest", false)).await?;
        let block: BlockRef = block
            .ok_or(RpcFailure::Malformed {
                what: "no latest block",
            })?
            .into();
        let mut health = self.health.lock();
        if block.number > health.head {
            health.head_rose_at = Instant::now();
        }
        health.head = block.number;
        Ok(block)
    }

    /// The block at a height, none if the server has none.
    pub(crate) async fn block(&self, number: u64) -> Result<Option<BlockRef>, RpcFailure> {
        let params = (U64::from(number), false);
        let block: Option<BlockAnswer> = self.call("eth_getBlockByNumber", params).await?;
        let block = block.map(BlockRef::from);
        match block {
            Some(block) if block.number != number => Err(RpcFailure::Malformed {
                what: "another block than asked for",
            }),
            block => Ok(block),
        }
    }

    /// The logs that match.
    pub(crate) async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, RpcFailure> {
        self.call("eth_getLogs", (filter,)).await
    }

    /// For how long the newest block has been the same.
    pub(crate) fn stale_for(&self) -> Duration {
        self.health.lock().head_rose_at.elapsed()
    }

    /// Blocks to ask logs of in one call.
    pub(crate) fn log_range(&self) -> u64 {
        self.health.lock().log_range
    }

    /// Halves the range; false if it is one block already.
    pub(crate) fn shrink_log_range(&self) -> bool {
        let mut health = self.health.lock();
        let shrinks = health.log_range > 1;
        health.log_range = (health.log_range / 2).max(1);
        shrinks
    }

    pub(crate) fn grow_log_range(&self) {
        let mut health = self.health.lock();
        health.log_range = health.log_range.saturating_mul(2).min(MAX_LOG_RANGE);
    }

    pub(crate) fn succeeded(&self) {
        let mut health = self.health.lock();
        health.failures = 0;
        health.retry_at = None;
    }

    /// Backs off: doubled with each failure running, between half and all of it at random.
    pub(crate) fn failed(&self) {
        let mut health = self.health.lock();
        health.failures = health.failures.saturating_add(1);
        health.chain_checked = false;
        let doublings = health.failures.saturating_sub(1).min(16);
        let wait = FIRST_BACK_OFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACK_OFF)
            .mul_f64(rand::thread_rng().gen_range(0.5..=1.0));
        health.retry_at = Some(Instant::now() + wait);
    }

    fn retry_at(&self) -> Option<Instant> {
        self.health.lock().retry_at
    }

    async fn check_chain(&self) -> Result<(), RpcFailure> {
        if self.health.lock().chain_checked {
            return Ok(());
        }
        let call = self.client.request_noparams::<U64>("eth_chainId");
        let found = call.await.map_err(transport::failure)?.to::<u64>();
        if found != self.chain_id {
            return Err(RpcFailure::WrongChain {
                expected: self.chain_id,
                found,
            });
        }
        self.health.lock().chain_checked = true;
        Ok(())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockAnswer {
    number: U64,
    hash: B256,
    parent_hash: B256,
}

impl From<BlockAnswer> for BlockRef {
    fn from(block: BlockAnswer) -> Self {
        Self {
            number: block.number.to(),
            hash: block.hash.0,
            parent_hash: block.parent_hash.0,
        }
    }
}
