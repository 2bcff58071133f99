//! The chain of a devnet, as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chain::{BlockTime, Chain, ChainConfig};
use clap::Args;
use ledger::DEV_CHAIN_ID;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use wallet::Mnemonic;

use super::members::{GRACE, interrupt};
use super::plan::ChainKind;
use super::{DEV_MNEMONIC, FUNDED_ACCOUNTS};
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::process_lock::ProcessLock;
use crate::stopping;

/// What each funded account has, in whole coins, as with anvil.
const FUNDS: u64 = 10_000;
/// Wei in a whole coin.
const WEI: u64 = 1_000_000_000_000_000_000;
/// Environment variable with the path of anvil.
const ANVIL_VARIABLE: &str = "CONET_ANVIL";
/// Seconds between two times that anvil writes its state: what a killed anvil forgets.
const ANVIL_STATE_INTERVAL_S: &str = "2";

/// What the chain's process is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChainArgs {
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    #[arg(long)]
    pub(crate) block_time: u32,
    #[arg(long, value_enum)]
    pub(crate) kind: ChainKind,
}

/// Runs the chain until a signal or the end of stdin.
pub(crate) async fn run(args: ChainArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    stopping::with_stdin(&stop);
    // The lock says which process it is; the chain's own store is locked besides.
    std::fs::create_dir_all(&args.dir).context(args.dir.display())?;
    let lock = lock_path(&args.dir);
    let _lock = ProcessLock::take(&lock).context(lock.display())?;
    match args.kind {
        ChainKind::Revm => run_here(&args, stop).await?,
        ChainKind::Anvil => run_anvil(&args, stop).await?,
    }
    Ok(Exit::Done)
}

/// The lock that names the chain's process.
pub(super) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("process.lock")
}

/// Runs the built-in chain in this process until `stop`.
pub(crate) async fn run_here(args: &ChainArgs, stop: CancellationToken) -> Outcome<()> {
    let mnemonic = Mnemonic::parse(DEV_MNEMONIC)?;
    let mut genesis_accounts = Vec::new();
    for index in 0..FUNDED_ACCOUNTS {
        let balance = alloy_primitives::U256::from(FUNDS) * alloy_primitives::U256::from(WEI);
        genesis_accounts.push((*mnemonic.wallet(index)?.address().as_bytes(), balance));
    }
    let ip = args.listen.ip();
    let config = ChainConfig {
        chain_id: DEV_CHAIN_ID,
        listen: args.listen,
        exposed: (!ip.is_loopback()).then_some(ip),
        data_dir: Some(args.dir.clone()),
        block_time: match args.block_time {
            0 => BlockTime::Instant,
            seconds => BlockTime::Every(Duration::from_secs(seconds.into())),
        },
        genesis_accounts,
        ..ChainConfig::default()
    };
    let running = Chain::start(config, CancellationToken::new()).await?;
    stop.cancelled().await;
    running.stop().await;
    Ok(())
}

async fn run_anvil(args: &ChainArgs, stop: CancellationToken) -> Outcome<()> {
    std::fs::create_dir_all(&args.dir).context(args.dir.display())?;
    let program = std::env::var_os(ANVIL_VARIABLE).unwrap_or_else(|| "anvil".into());
    let mut command = Command::new(&program);
    command
        .args([
            "--host",
            &args.listen.ip().to_string(),
            "--port",
            &args.listen.port().to_string(),
        ])
        .args([
            "--chain-id",
            &DEV_CHAIN_ID.to_string(),
            "--mnemonic",
            DEV_MNEMONIC,
        ])
        .args([
            "--accounts",
            &FUNDED_ACCOUNTS.to_string(),
            "--balance",
            &FUNDS.to_string(),
        ])
        .args([
            "--state-interval",
            ANVIL_STATE_INTERVAL_S,
            "--quiet",
            "--state",
        ])
        .arg(args.dir.join("anvil.json"))
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    if args.block_time > 0 {
        command.args(["--block-time", &args.block_time.to_string()]);
    }
    let mut anvil = command.spawn().map_err(|error| {
        let program = program.to_string_lossy();
        Failure::error(format!(
            "can't start {program}: {error}: install it or name it in {ANVIL_VARIABLE}"
        ))
    })?;
    tokio::select! {
        ended = anvil.wait() => return Err(Failure::error(format!("anvil ended: {}", ended?))),
        () = stop.cancelled() => {}
    }
    // At an interrupt it writes its state.
    interrupt(&anvil);
    if tokio::time::timeout(GRACE, anvil.wait()).await.is_err() {
        anvil.kill().await?;
    }
    Ok(())
}
