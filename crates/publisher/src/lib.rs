//! What stands between a stream that came from the network and a server on this machine.
//!
//! The server is an ordinary one and knows nothing of CONET. A [`Publisher`] speaks HTTP/1.1 with the caller, checks the
//! wallet's signature of each request ([`signin`]), tells the server by the field `Conet-Wallet` who asks, and passes
//! bodies on as they come, both ways. It never writes down who asked for what, and never lets a caller name a wallet that
//! did not sign. [`serve_tcp`] is the same for whatever is not HTTP, and only copies.
//!
//! * [`Publisher`], [`Config`]: the HTTP side; [`HttpTarget`]: the server;
//! * `forward.rs`: the life of one request; `body.rs`: bodies on their way; `answers.rs`: what a caller is told.
//!
//! ```no_run
//! use publisher::{Config, Publisher};
//! # async fn example(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! let target = "http://127.0.0.1:3000".parse()?;
//! let publisher = Publisher::new(Config::new(target, 31_337, ["notes.conet".parse()?]));
//! publisher.serve(stream).await;
//! # Ok(())
//! # }
//! ```

mod answers;
mod body;
mod config;
mod forward;
mod tcp;
mod wallet_field;

pub use config::{
    Config, DEFAULT_HEAD_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_REQUESTS, HttpTarget,
    TargetError,
};
pub use tcp::{TcpError, serve_tcp};
pub use wallet_field::CONET_WALLET;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use signin::{Verifier, VerifierConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Semaphore};

use body::RequestBody;
use forward::Join;

/// The head of a request or an answer at most, in bytes; also what is buffered of a body.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields in the head of a request or an answer at most.
const MAX_FIELDS: usize = 128;
/// How long connecting to the server may take. It is on this machine, or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to the server is kept for the next request. Servers close theirs after 5 s and more.
const KEEP_FOR: Duration = Duration::from_secs(4);
/// Connections to the server that are kept while nobody needs them.
const MAX_KEPT: usize = 32;

/// Passes requests from the network on to a local server. Clones are the same publisher.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    verifier: Verifier,
    client: Client<HttpConnector, RequestBody>,
    places: Arc<Semaphore>,
}

/// One stream: what is left to do once HTTP on it has ended.
#[derive(Default)]
struct Visit {
    join: Mutex<Option<Join>>,
}

impl Publisher {
    /// Makes one. It opens no connection before the first request.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_FOR)
            .pool_max_idle_per_host(MAX_KEPT)
            .set_host(false)
            .http1_max_headers(MAX_FIELDS)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http1_preserve_header_case(true)
            .build(connector);
        let names = config.names.iter().cloned();
        let verifier = Verifier::new(VerifierConfig::new(config.chain_id, names));
        let places = Arc::new(Semaphore::new(config.max_requests));
        let shared = Arc::new(Shared {
            config,
            verifier,
            client,
            places,
        });
        Self { shared }
    }

    /// Serves the requests of one stream, to its end.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream, and with it what was under way.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visit = Arc::new(Visit::default());
        let service = {
            let visit = Arc::clone(&visit);
            service_fn(move |request| {
                let (shared, visit) = (Arc::clone(&self.shared), Arc::clone(&visit));
                async move { Ok::<_, Infallible>(shared.respond(request, &visit).await) }
            })
        };
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.shared.config.head_timeout)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD_BYTES)
            .preserve_header_case(true)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            // Its text names nobody.
            tracing::debug!(target: "publisher", %error, "a caller's stream ended early");
        }
        if let Some(join) = visit.join.lock().await.take() {
            join.run().await;
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
