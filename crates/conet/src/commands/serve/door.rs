//! What stands between a stream from the network and a server of this machine.
//!
//! Here is the one joint for servers that speak HTTP: until there is more to be done for them, their bytes are copied as any
//! others.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::services::Incoming;
use client::streams::{Reset, Stream};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use super::offered::{LocalTarget, Service};
use crate::context::Context;
use crate::screen;

/// Bytes that are moved at once in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One server, and who may reach it.
#[derive(Debug)]
pub(super) struct Door {
    to: LocalTarget,
    allowed: Option<Arc<BTreeSet<WalletAddress>>>,
    /// Whether the user was told that the server does not answer.
    told: AtomicBool,
}

/// What went through all doors.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: AtomicU64,
    all: AtomicU64,
    refused: AtomicU64,
    in_bytes: AtomicU64,
    out_bytes: AtomicU64,
}

impl Tally {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        format!(
            "{} connections open, {} in all, {} refused; {} in, {} out",
            read(&self.open),
            read(&self.all),
            read(&self.refused),
            indicatif::HumanBytes(read(&self.in_bytes)),
            indicatif::HumanBytes(read(&self.out_bytes)),
        )
    }
}

impl Door {
    pub(super) fn new(
        service: &Service,
        allowed: Option<Arc<BTreeSet<WalletAddress>>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            to: service.to.clone(),
            allowed,
            told: AtomicBool::new(false),
        })
    }

    /// Serves one stream to its end.
    pub(super) async fn serve(
        &self,
        context: &Context,
        incoming: Incoming,
        tally: &Tally,
        stop: CancellationToken,
    ) {
        let Incoming { stream, caller, .. } = incoming;
        if !self.lets_in(caller) {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            return stream.reset(Reset::Denied);
        }
        let connected = tokio::select! {
            biased;
            () = stop.cancelled() => return stream.reset(Reset::Stopping),
            () = stream.ended() => return,
            connected = self.connect() => connected,
        };
        let socket = match connected {
            Ok(socket) => socket,
            Err(error) => {
                self.tell_down(context, &error);
                tally.refused.fetch_add(1, Ordering::Relaxed);
                return stream.reset(reason(&error));
            }
        };
        if self.told.swap(false, Ordering::Relaxed) {
            screen::notice(context, &format!("{} answers again", self.to));
        }
        stream.set_opened();
        tally.open.fetch_add(1, Ordering::Relaxed);
        tally.all.fetch_add(1, Ordering::Relaxed);
        splice(stream, socket, tally, &stop).await;
        tally.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn lets_in(&self, caller: Option<WalletAddress>) -> bool {
        let Some(allowed) = &self.allowed else {
            return true;
        };
        caller.is_some_and(|caller| allowed.contains(&caller))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect(self.to.target.to_string());
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let socket = connected.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
        // Small answers are not held back for others.
        let _best_effort = socket.set_nodelay(true);
        Ok(socket)
    }

    /// Once, until it answers again.
    fn tell_down(&self, context: &Context, error: &io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let text = format!(
                "{} does not answer, callers are refused: {error}; is the server running?",
                self.to
            );
            screen::notice(context, &text);
        }
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
async fn splice(
    mut stream: Stream,
    mut socket: TcpStream,
    tally: &Tally,
    stop: &CancellationToken,
) {
    let copied = tokio::select! {
        biased;
        () = stop.cancelled() => {
            let _best_effort = socket.set_zero_linger();
            return stream.reset(Reset::Stopping);
        }
        copied = copy_bidirectional_with_sizes(&mut stream, &mut socket, BUFFER_BYTES, BUFFER_BYTES) => copied,
    };
    match copied {
        Ok((in_bytes, out_bytes)) => {
            tally.in_bytes.fetch_add(in_bytes, Ordering::Relaxed);
            tally.out_bytes.fetch_add(out_bytes, Ordering::Relaxed);
        }
        Err(_) => {
            // A connection that failed must not look as if it had ended.
            let _best_effort = socket.set_zero_linger();
            stream.reset(Reset::Aborted);
        }
    }
}
