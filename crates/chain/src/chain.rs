//! A running chain: its engine, its server and its clock.

use crate::{
    config::{BlockTime, ChainConfig},
    engine::Engine,
    error::ChainError,
    server,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

/// The entry: starts chains.
#[derive(Clone, Copy, Debug)]
pub struct Chain;

impl Chain {
    /// Opens or makes the chain of `config` and serves it until `shutdown` is cancelled.
    ///
    /// Once this returns, JSON-RPC answers. Cancelling `shutdown` stops it in the
    /// background; [`RunningChain::stop`] waits until it has stopped.
    ///
    /// # Errors
    ///
    /// A configuration that can't be used, a data directory that is in use, damaged or of
    /// another chain, an address that can't be listened on.
    ///
    /// # Security
    ///
    /// Whoever reaches the address may send transactions; nobody is authenticated. Web
    /// pages are kept out by their `Host` and `Origin`, other machines by the loopback
    /// address. The state needs no secrecy: it is a public ledger.
    pub async fn start(
        config: ChainConfig,
        shutdown: CancellationToken,
    ) -> Result<RunningChain, ChainError> {
        config.check()?;
        let (listen, exposed, block_time) = (config.listen, config.exposed, config.block_time);
        let listen_error = |source| ChainError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let engine = Arc::new(spawn_blocking(move || Engine::open(&config)).await??);
        // Its own token, so that `stop` does not cancel what the caller shares with others.
        let shutdown = shutdown.child_token();
        let server = tokio::spawn(server::serve(
            listener,
            Arc::clone(&engine),
            exposed,
            shutdown.clone(),
        ));
        let producer = match block_time {
            BlockTime::Instant => None,
            BlockTime::Every(interval) => {
                Some(tokio::spawn(produce(engine, interval, shutdown.clone())))
            }
        };
        Ok(RunningChain {
            address,
            shutdown,
            server,
            producer,
        })
    }
}

/// A chain that runs. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct RunningChain {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    producer: Option<JoinHandle<()>>,
}

impl RunningChain {
    /// Returns the URL of the JSON-RPC server, such as `http://127.0.0.1:8545`.
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address that the server listens on, with the port that it got.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the chain. Open requests get 5 s to finish; then the data directory is free.
    ///
    /// # Cancel safety
    ///
    /// The chain stops also if this is dropped half-way.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(producer) = self.producer.take() {
            let _ = producer.await;
        }
        let _ = (&mut self.server).await;
    }
}

impl Drop for RunningChain {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Makes a block at each interval. A block that could not be made (a full disk) is left
/// out; its transactions wait for the next.
async fn produce(engine: Arc<Engine>, every: Duration, shutdown: CancellationToken) {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let engine = Arc::clone(&engine);
        match spawn_blocking(move || engine.mine(None)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(target: "chain", %error, "could not make a block"),
            Err(error) => tracing::error!(target: "chain", %error, "the block thread stopped"),
        }
    }
}
