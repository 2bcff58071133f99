//! What the live line shows: connections and bytes, never whose.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What went through all doors.
#[derive(Debug, Default)]
pub(in crate::commands::serve) struct Tally {
    open: AtomicU64,
    all: AtomicU64,
    refused: AtomicU64,
    in_bytes: AtomicU64,
    out_bytes: AtomicU64,
}

/// A stream whose bytes are counted as they pass.
#[derive(Debug)]
pub(super) struct Counted<S> {
    inner: S,
    place: Place,
}

/// An open connection's place in the tally.
#[derive(Debug)]
struct Place(Arc<Tally>);

impl Tally {
    /// One line for people.
    pub(in crate::commands::serve) fn line(&self) -> String {
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

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, tally: &Arc<Tally>) -> Self {
        tally.open.fetch_add(1, Ordering::Relaxed);
        tally.all.fetch_add(1, Ordering::Relaxed);
        Self {
            inner,
            place: Place(Arc::clone(tally)),
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let bytes = (buf.filled().len() - before) as u64;
        self.place.0.in_bytes.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        (self.place.0.out_bytes).fetch_add(bytes as u64, Ordering::Relaxed);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
