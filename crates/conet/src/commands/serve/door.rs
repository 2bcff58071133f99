//! What stands between a stream from the network and a server of this machine.
//!
//! This is the one joint for servers: requests of HTTP go through [`publisher`], which tells the server who has signed them;
//! all else is copied, and may be kept to wallets by the offers that they sign.

mod counted;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::services::Incoming;
use client::streams::{Reset, Stream};
use parking_lot::Mutex;
use publisher::{Config, HttpTarget, Publisher};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use super::offered::{LocalTarget, Service};
use crate::context::Context;
use crate::failure::{Context as _, Outcome};
use crate::screen;
use counted::Counted;
pub(super) use counted::Tally;

/// Bytes that are moved at once in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether a server of HTTP is there, while it is called.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// One server, and who may reach it.
#[derive(Debug)]
pub(super) struct Door {
    to: LocalTarget,
    behind: Behind,
    /// Whether the user was told that the server does not answer.
    told: AtomicBool,
}

/// How streams are passed on.
#[derive(Debug)]
enum Behind {
    /// As requests, each judged for itself.
    Http {
        publisher: Box<Publisher>,
        looked: Mutex<Option<Instant>>,
    },
    /// As bytes, from anybody or from some wallets.
    Tcp(Option<Arc<BTreeSet<WalletAddress>>>),
}

/// What a door is told beside its server.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The wallets that are let in; everybody where there is no list.
    pub(super) allowed: Option<Arc<BTreeSet<WalletAddress>>>,
    /// The `Host` that servers of HTTP see.
    pub(super) host_header: Option<String>,
    /// The chain whose signatures count.
    pub(super) chain_id: u64,
}

impl Door {
    /// A door to a service that has these addresses.
    pub(super) fn new(
        service: &Service,
        authorities: impl Iterator<Item = String>,
        rules: &Rules,
    ) -> Outcome<Arc<Self>> {
        let to = service.to.clone();
        let behind = match to.is_http {
            false => Behind::Tcp(rules.allowed.clone()),
            true => {
                let target: HttpTarget = to.to_string().parse().context(&to)?;
                let names = authorities.map(|name| name.parse().context(name));
                let names = names.collect::<Outcome<Vec<_>>>()?;
                let mut config = Config::new(target, rules.chain_id, names);
                config.allow = rules.allowed.as_deref().cloned();
                if let Some(host) = &rules.host_header {
                    config.host = Some(host.parse().context(host)?);
                }
                Behind::Http {
                    publisher: Box::new(Publisher::new(config)),
                    looked: Mutex::default(),
                }
            }
        };
        Ok(Arc::new(Self {
            to,
            behind,
            told: AtomicBool::new(false),
        }))
    }

    /// Serves one stream to its end.
    pub(super) async fn serve(
        &self,
        context: &Context,
        incoming: Incoming,
        tally: &Arc<Tally>,
        stop: CancellationToken,
    ) {
        let Incoming { stream, caller, .. } = incoming;
        match &self.behind {
            Behind::Http { publisher, looked } => {
                let is_due = {
                    let mut looked = looked.lock();
                    let is_due = looked.is_none_or(|last| last.elapsed() >= LOOK_EVERY);
                    if is_due {
                        *looked = Some(Instant::now());
                    }
                    is_due
                };
                stream.set_opened();
                let stream = Counted::new(stream, tally);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = publisher.serve(stream) => {}
                    () = self.look(context), if is_due => {}
                }
            }
            Behind::Tcp(allowed) => {
                if !lets_in(allowed.as_deref(), caller) {
                    tally.refused();
                    return stream.reset(Reset::Denied);
                }
                let connected = tokio::select! {
                    biased;
                    () = stop.cancelled() => return stream.reset(Reset::Stopping),
                    () = stream.ended() => return,
                    connected = self.connect(context) => connected,
                };
                match connected {
                    Ok(socket) => {
                        stream.set_opened();
                        splice(Counted::new(stream, tally), socket, &stop).await;
                    }
                    Err(error) => {
                        tally.refused();
                        stream.reset(reason(&error));
                    }
                }
            }
        }
    }

    /// Finds out whether the server is there, so that the user is told; never ends.
    async fn look(&self, context: &Context) {
        let _told = self.connect(context).await;
        std::future::pending().await
    }

    async fn connect(&self, context: &Context) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect(self.to.target.to_string());
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        match connected.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            Ok(socket) => {
                if self.told.swap(false, Ordering::Relaxed) {
                    screen::notice(context, &format!("{} answers again", self.to));
                }
                // Small answers are not held back for others.
                let _best_effort = socket.set_nodelay(true);
                Ok(socket)
            }
            Err(error) => {
                // Once, until it answers again.
                if !self.told.swap(true, Ordering::Relaxed) {
                    let text = format!(
                        "{} does not answer, callers are refused: {error}; is the server running?",
                        self.to
                    );
                    screen::notice(context, &text);
                }
                Err(error)
            }
        }
    }
}

fn lets_in(allowed: Option<&BTreeSet<WalletAddress>>, caller: Option<WalletAddress>) -> bool {
    match (allowed, caller) {
        (None, _) => true,
        (Some(allowed), Some(caller)) => allowed.contains(&caller),
        (Some(_), None) => false,
    }
}

fn reason(error: &io::Error) -> Reset {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reset::Refused,
        io::ErrorKind::TimedOut => Reset::TimedOut,
        _ => Reset::Unreachable,
    }
}

/// Moves bytes both ways until both directions have ended, one side fails, or it is to stop.
async fn splice(mut stream: Counted<Stream>, mut socket: TcpStream, stop: &CancellationToken) {
    let copied = tokio::select! {
        biased;
        () = stop.cancelled() => {
            let _best_effort = socket.set_zero_linger();
            return stream.into_inner().reset(Reset::Stopping);
        }
        copied = copy_bidirectional_with_sizes(&mut stream, &mut socket, BUFFER_BYTES, BUFFER_BYTES) => copied,
    };
    if copied.is_err() {
        // A connection that failed must not look as if it had ended.
        let _best_effort = socket.set_zero_linger();
        stream.into_inner().reset(Reset::Aborted);
    }
}
