//! The whole way of a request in one process and without a network: the local proxy signs, a publisher verifies, the notes
//! service knows who asks. To try with a browser:
//!
//! ```sh
//! cargo run --release -p conet-notes --example whole_way
//! chromium --proxy-server=http://127.0.0.1:8080 --user-data-dir=/tmp/whole-way http://notes.conet/
//! curl --proxy http://127.0.0.1:8080 http://notes.conet/
//! ```
//!
//! The wallet is a new one each time, the notes are gone at the end.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use gateway::{
    Ask, Associated, Config, ConnectError, Connected, Duplex, Gateway, Isolation, Outbound, Signer,
};
use notes::Notes;
use publisher::Publisher;
use rand::rngs::OsRng;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::CancellationToken;
use wallet::WalletKey;

const CHAIN: u64 = 31_337;
/// Bytes under way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Leads to one service.
struct OneService(Publisher);

/// A pipe within the process.
struct Pipe(DuplexStream);

impl Outbound for OneService {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        Box::pin(async move {
            if ask.target.to_string() != "notes.conet:80" {
                return Err(ConnectError::NoSuchHost);
            }
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let publisher = self.0.clone();
            tokio::spawn(async move { publisher.serve(far).await });
            let stream = Box::new(Pipe(near));
            Ok(Connected {
                stream,
                bridge: None,
                is_to_service: true,
            })
        })
    }

    fn associate(&self, _: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Box::pin(async { Err(ConnectError::Unsupported) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let notes = Notes::open(&folder.path().join("notes.db"))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let target = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(async move { axum::serve(listener, notes::router(notes)).await });

    let publisher = Publisher::new(publisher::Config::new(
        target,
        CHAIN,
        ["notes.conet".parse()?],
    ));
    let signer = Arc::new(Signer::new(WalletKey::generate(&mut OsRng), CHAIN));
    let config = Config {
        signer: Some(signer),
        ..Config::default()
    };
    let gateway = Gateway::bind(config, Arc::new(OneService(publisher))).await?;
    if let Some(address) = gateway.http_address() {
        println!("http://notes.conet/ by the proxy {address}");
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

impl Duplex for Pipe {
    fn reset(&mut self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
