//! Moving bytes between a stream and a socket.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use streams::{Reset, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes that are moved at once in each direction: as many as one frame holds.
const BUFFER_BYTES: usize = 32 * 1024;

/// A socket, and when something last moved over it.
struct Watched<'w> {
    socket: TcpStream,
    start: Instant,
    moved_ms: &'w AtomicU64,
}

/// Moves bytes in both directions until both have ended, one of them fails, or nothing moves for `idle`.
pub(super) async fn splice(mut stream: Stream, socket: TcpStream, idle: Duration) {
    let moved_ms = AtomicU64::new(0);
    let start = Instant::now();
    let mut socket = Watched {
        socket,
        start,
        moved_ms: &moved_ms,
    };
    let copied = tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut stream, &mut socket, BUFFER_BYTES, BUFFER_BYTES) => copied.map(|_| ()),
        () = idle_for(idle, start, &moved_ms) => Err(io::ErrorKind::TimedOut.into()),
    };
    if copied.is_err() {
        // A connection that failed must not look as if it had ended.
        let _best_effort = socket.socket.set_zero_linger();
        stream.reset(Reset::Aborted);
    }
}

async fn idle_for(idle: Duration, start: Instant, moved_ms: &AtomicU64) {
    loop {
        let last = start + Duration::from_millis(moved_ms.load(Ordering::Relaxed));
        if last.elapsed() >= idle {
            return;
        }
        tokio::time::sleep_until(last + idle).await;
    }
}

impl Watched<'_> {
    fn moved(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(since, Ordering::Relaxed);
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buf));
        self.moved();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, buf));
        self.moved();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
