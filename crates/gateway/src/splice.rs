//! Copies bytes between a client and its connection, both ways, until both have ended or one has failed.
//!
//! An end on one side is an end on the other and leaves the opposite direction open; an error on one side resets the
//! other, so that nobody takes half a file for a whole one. A connection that is idle holds no buffer and may stay for
//! days.

use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::outbound::Duplex;

/// Bytes under way in one direction at most.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a connection of which one half has ended may go without a byte. Its other end may never come: most programs
/// that close a connection want nothing more of it.
pub(crate) const HALF_CLOSED_IDLE: Duration = Duration::from_secs(60 * 60);

/// How far a splice has come.
#[derive(Default)]
struct Progress {
    is_half_closed: AtomicBool,
    moved: AtomicU64,
}

/// A client and its connection. Unless both directions have ended in good order both are reset on drop, so also when the
/// gateway stops.
struct Pair<C: Duplex, S: Duplex> {
    client: C,
    server: S,
    is_done: bool,
}

impl<C: Duplex, S: Duplex> Drop for Pair<C, S> {
    fn drop(&mut self) {
        if !self.is_done {
            self.client.reset();
            self.server.reset();
        }
    }
}

/// Copies until both directions have ended, or one side fails: then both are reset.
///
/// # Cancel safety
///
/// Dropping the future resets both.
pub(crate) async fn splice(client: impl Duplex, server: impl Duplex) {
    let mut pair = Pair {
        client,
        server,
        is_done: false,
    };
    pair.is_done = run(&mut pair.client, &mut pair.server).await.is_ok();
}

async fn run(client: &mut dyn Duplex, server: &mut dyn Duplex) -> io::Result<()> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let progress = Progress::default();
    let both = async {
        tokio::try_join!(
            pump(from_client, to_server, &progress),
            pump(from_server, to_client, &progress),
        )
    };
    tokio::select! {
        ended = both => ended.map(|_| ()),
        () = abandoned(&progress) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    progress: &Progress,
) -> io::Result<()> {
    loop {
        let chunk = next(&mut from).await?;
        if chunk.is_empty() {
            break;
        }
        to.write_all(&chunk).await?;
        to.flush().await?;
        progress.moved.fetch_add(1, Ordering::Relaxed);
    }
    to.shutdown().await?;
    progress.is_half_closed.store(true, Ordering::Relaxed);
    Ok(())
}

/// What can be read, or nothing at the end. While it waits it holds no memory.
async fn next(from: &mut (impl AsyncRead + Unpin)) -> io::Result<BytesMut> {
    poll_fn(|cx| {
        let mut chunk = BytesMut::with_capacity(BUFFER_BYTES);
        match pin!(from.read_buf(&mut chunk)).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => Poll::Ready(read.map(|_| chunk)),
        }
    })
    .await
}

/// Ends when one half has been closed and nothing has moved since for [`HALF_CLOSED_IDLE`], to twice that.
async fn abandoned(progress: &Progress) {
    let mut before = None;
    loop {
        tokio::time::sleep(HALF_CLOSED_IDLE).await;
        let moved = progress.moved.load(Ordering::Relaxed);
        match progress.is_half_closed.load(Ordering::Relaxed) {
            true if before == Some(moved) => return,
            true => before = Some(moved),
            false => {}
        }
    }
}
