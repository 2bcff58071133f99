//! What a chain is told at its start.

use alloy_primitives::U256;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The chain ID of a local chain, as of anvil and hardhat.
pub const DEFAULT_CHAIN_ID: u64 = 31_337;
/// The gas limit of a block unless told otherwise.
pub const DEFAULT_GAS_LIMIT: u64 = 30_000_000;
/// The lowest gas limit of a block (Yellow Paper, section 4.4.4).
pub const MIN_GAS_LIMIT: u64 = 5_000;
/// The highest gas limit of a block: about a second of one core.
pub const MAX_GAS_LIMIT: u64 = 1_000_000_000;
/// The highest chain ID: EIP-155's `v` is `2 · chain ID + 36` and has to fit 64 bits.
pub const MAX_CHAIN_ID: u64 = (u64::MAX - 36) / 2;
/// The shortest interval between blocks.
pub const MIN_BLOCK_INTERVAL: Duration = Duration::from_millis(10);

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTime {
    /// A block for each transaction, before `eth_sendRawTransaction` answers; none without.
    Instant,
    /// A block at each interval, with or without transactions.
    Every(Duration),
}

/// How to start a [`Chain`](crate::Chain).
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// The chain ID of EIP-155; fixed when the chain is first made.
    pub chain_id: u64,
    /// Where JSON-RPC listens; port 0 takes a free one. A loopback address, or `exposed`.
    pub listen: SocketAddr,
    /// The one other address that may be listened on; strangers can then reach the chain,
    /// so that only reads and `eth_sendRawTransaction` are served.
    pub exposed: Option<IpAddr>,
    /// Where the chain is kept; `None` keeps it in memory only.
    pub data_dir: Option<PathBuf>,
    /// When blocks are made.
    pub block_time: BlockTime,
    /// Accounts and their balances in wei in the first block; fixed like `chain_id`.
    pub genesis_accounts: Vec<([u8; 20], U256)>,
    /// Gas that fits in a block, from [`MIN_GAS_LIMIT`] to [`MAX_GAS_LIMIT`].
    pub gas_limit: u64,
    /// Allows `evm_mine` and `conet_reorg`, and holds `finalized` back by
    /// [`MAX_REORG_BLOCKS`](crate::MAX_REORG_BLOCKS).
    pub test_controls: bool,
}

impl Default for ChainConfig {
    /// An instant chain in memory on a free loopback port, without funded accounts.
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            exposed: None,
            data_dir: None,
            block_time: BlockTime::Instant,
            genesis_accounts: Vec::new(),
            gas_limit: DEFAULT_GAS_LIMIT,
            test_controls: false,
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address is neither a loopback address nor the exposed one.
    #[error(
        "refusing to listen on {0}: only loopback addresses are served unless that very address is exposed"
    )]
    NotLoopback(IpAddr),
    /// `exposed` must be one address of this machine, not all of them.
    #[error("refusing to expose {0}: name one address of this machine")]
    ExposedUnspecified(IpAddr),
    /// The interval between blocks is too short.
    #[error("block interval {0:?} is shorter than {MIN_BLOCK_INTERVAL:?}")]
    IntervalTooShort(Duration),
    /// The gas limit is out of range.
    #[error("block gas limit {0} is outside {MIN_GAS_LIMIT}..={MAX_GAS_LIMIT}")]
    GasLimit(u64),
    /// Chain IDs run from 1 to what `v` of a legacy signature can carry.
    #[error("chain ID {0} is outside 1..={MAX_CHAIN_ID}")]
    ChainId(u64),
}

impl ChainConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(exposed) = self.exposed
            && exposed.is_unspecified()
        {
            return Err(ConfigError::ExposedUnspecified(exposed));
        }
        let ip = self.listen.ip();
        if !ip.is_loopback() && self.exposed != Some(ip) {
            return Err(ConfigError::NotLoopback(ip));
        }
        if let BlockTime::Every(interval) = self.block_time
            && interval < MIN_BLOCK_INTERVAL
        {
            return Err(ConfigError::IntervalTooShort(interval));
        }
        if !(MIN_GAS_LIMIT..=MAX_GAS_LIMIT).contains(&self.gas_limit) {
            return Err(ConfigError::GasLimit(self.gas_limit));
        }
        if !(1..=MAX_CHAIN_ID).contains(&self.chain_id) {
            return Err(ConfigError::ChainId(self.chain_id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_listening_beyond_loopback_needs_that_address_exposed() {
        let mut config = ChainConfig {
            listen: "192.0.2.1:0".parse().unwrap(),
            ..ChainConfig::default()
        };
        let refused = Err(ConfigError::NotLoopback("192.0.2.1".parse().unwrap()));
        assert_eq!(config.check(), refused);
        config.exposed = Some("192.0.2.2".parse().unwrap());
        assert_eq!(config.check(), refused);
        config.exposed = Some("192.0.2.1".parse().unwrap());
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn config_exposing_every_address_is_refused() {
        for all in ["0.0.0.0", "::"] {
            let config = ChainConfig {
                listen: SocketAddr::new(all.parse().unwrap(), 0),
                exposed: Some(all.parse().unwrap()),
                ..ChainConfig::default()
            };
            assert!(matches!(
                config.check(),
                Err(ConfigError::ExposedUnspecified(_))
            ));
        }
    }

    #[test]
    fn config_out_of_range_is_refused() {
        let with = |change: fn(&mut ChainConfig)| {
            let mut config = ChainConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|c| c.gas_limit = 0), Err(ConfigError::GasLimit(0)));
        assert_eq!(with(|c| c.chain_id = 0), Err(ConfigError::ChainId(0)));
        assert_eq!(
            with(|c| c.block_time = BlockTime::Every(Duration::ZERO)),
            Err(ConfigError::IntervalTooShort(Duration::ZERO))
        );
        assert_eq!(with(|_| ()), Ok(()));
    }
}
