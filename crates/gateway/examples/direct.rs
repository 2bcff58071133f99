//! A proxy that hides nothing: the listeners with this machine's own sockets behind them, to try programs with.
//!
//! ```sh
//! cargo run --release -p conet-gateway --example direct
//! curl --proxy socks5h://alice:@127.0.0.1:1080 http://example.org/
//! curl http://127.0.0.1:8080/status.json
//! ```

use std::error::Error;
use std::sync::Arc;

use gateway::{Config, Direct, Gateway};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = Gateway::bind(Config::default(), Arc::new(Direct)).await?;
    for address in [gateway.socks_address(), gateway.http_address()] {
        println!(
            "{}",
            address.map_or("off".into(), |address| address.to_string())
        );
    }
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(async move {
        let _no_signals = tokio::signal::ctrl_c().await;
        until.cancel();
    });
    gateway.run(stop).await;
    Ok(())
}
