//! The chain itself, without its server: one writer, many readers.
//!
//! **Writer.** `Engine::writer` is held while a transaction is taken, a block is made or
//! blocks are dropped, so that these happen one at a time. A block is executed on a view
//! of the head, written to disk, and only then shown to readers: what anybody has seen
//! survives `kill -9`.
//!
//! **Readers** take the head's read lock, or read older blocks from the store. Locks are
//! taken in the order writer, filters, pool, head.
//!
//! Everything here blocks; the server calls it off the async threads.

mod admission;
mod execution;
mod filters;
mod head;
mod pool;
mod production;
mod queries;
mod simulation;

pub(crate) use admission::TransactionError;
pub use execution::MachineError;
pub use head::HISTORY_BLOCKS;
pub use production::MAX_REORG_BLOCKS;

pub(crate) use filters::{FilterChanges, FilterError, FilterId};
pub(crate) use head::Head;
pub(crate) use production::SubmitError;
pub(crate) use queries::{Place, QueryError, block_logs};
pub(crate) use simulation::{Call, CallError, Fees};

use crate::{
    config::{BlockTime, ChainConfig},
    state::{AccountRecord, StateCommitment, StateDiff, WorldState},
    store::{Store, StoreError},
};
use alloy_consensus::{EMPTY_ROOT_HASH, Header, Sealable, Sealed, constants::EMPTY_WITHDRAWALS};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256};
use filters::Filters;
use parking_lot::{Mutex, RwLock};
use pool::Pool;
use std::time::{SystemTime, UNIX_EPOCH};

/// The base fee of the first block in wei per gas (EIP-1559, `INITIAL_BASE_FEE`).
const INITIAL_BASE_FEE: u64 = 1_000_000_000;

/// Why the engine could not start or make a block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The EVM failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The data directory holds a chain with another chain ID.
    #[error(
        "the chain on disk has chain ID {found}, not {wanted}; use another data directory or that chain ID"
    )]
    ChainIdChanged {
        /// The chain ID on disk.
        found: u64,
        /// The chain ID asked for.
        wanted: u64,
    },
    /// The data directory holds a chain that began with other accounts.
    #[error(
        "the chain on disk began with other genesis accounts; use another data directory or those accounts"
    )]
    GenesisChanged,
    /// The state on disk is not the one that the newest block names.
    #[error("the chain on disk is damaged: its state does not match block {0}")]
    StateMismatch(u64),
    /// More blocks were to be dropped than there are or may be.
    #[error("can't drop {depth} blocks, at most {possible}")]
    ReorgTooDeep {
        /// How many were to be dropped.
        depth: u64,
        /// How many can be.
        possible: u64,
    },
}

/// The chain: store, state, pool and filters.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) chain_id: u64,
    gas_limit: u64,
    instant: bool,
    pub(crate) test_controls: bool,
    store: Store,
    writer: Mutex<StateCommitment>,
    pool: Mutex<Pool>,
    head: RwLock<Head>,
    filters: Mutex<Filters>,
}

impl Engine {
    /// Opens the chain of `config`, making it where there is none.
    pub(crate) fn open(config: &ChainConfig) -> Result<Self, EngineError> {
        let store = Store::open(config.data_dir.as_deref())?;
        let genesis_state = genesis_state(config);
        let genesis_root =
            StateCommitment::default().advance(&WorldState::default(), &genesis_state);
        match store.chain_id()? {
            None => store.create(
                config.chain_id,
                &genesis_header(genesis_root, config.gas_limit),
                &genesis_state,
            )?,
            Some(found) if found != config.chain_id => {
                return Err(EngineError::ChainIdChanged {
                    found,
                    wanted: config.chain_id,
                });
            }
            Some(_) => {
                let genesis = store.headers(0..=0)?.pop();
                if genesis.is_none_or(|genesis| genesis.state_root != genesis_root) {
                    return Err(EngineError::GenesisChanged);
                }
            }
        }
        let (head, state) = Head::load(&store)?;
        let mut commitment = StateCommitment::default();
        if commitment.advance(&WorldState::default(), &state) != head.header().state_root {
            return Err(EngineError::StateMismatch(head.header().number));
        }
        let engine = Self {
            chain_id: config.chain_id,
            gas_limit: config.gas_limit,
            instant: config.block_time == BlockTime::Instant,
            test_controls: config.test_controls,
            store,
            writer: Mutex::new(commitment),
            pool: Mutex::default(),
            head: RwLock::new(head),
            filters: Mutex::default(),
        };
        engine.restore_pool()?;
        Ok(engine)
    }

    /// Returns the newest block's header.
    pub(crate) fn newest(&self) -> Sealed<Header> {
        self.head.read().header().clone()
    }
}

fn genesis_state(config: &ChainConfig) -> StateDiff {
    StateDiff {
        accounts: config
            .genesis_accounts
            .iter()
            .filter(|(_, balance)| !balance.is_zero())
            .map(|(address, balance)| {
                (
                    Address::from(*address),
                    Some(AccountRecord::funded(*balance)),
                )
            })
            .collect(),
        ..StateDiff::default()
    }
}

/// Makes the first header. Its time, to the nanosecond, tells apart two chains that were
/// made from the same configuration, so that an index of one is not taken for the other's.
fn genesis_header(state_root: B256, gas_limit: u64) -> Sealed<Header> {
    let now = since_epoch();
    Header {
        state_root,
        gas_limit,
        timestamp: now.as_secs(),
        extra_data: now.as_nanos().to_be_bytes().to_vec().into(),
        base_fee_per_gas: Some(INITIAL_BASE_FEE),
        ..empty_header()
    }
    .seal_slow()
}

/// A header of an Osaka block without blobs, withdrawals, requests or beacon chain.
fn empty_header() -> Header {
    Header {
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// The system's clock; one that is set before 1970 counts as 1970.
fn since_epoch() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
