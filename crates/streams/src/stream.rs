//! A stream as programs use it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use protocol::stream::{End, Reset};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::{Shared, error_of};
use crate::now_ms;

/// One end of a stream: reads and writes like a socket, in both directions at once.
///
/// Shutting it down ends this direction; the other one stays open. Dropping it while either is open resets it.
pub struct Stream {
    shared: Arc<Shared>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(…)")
    }
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until the far end has done what was asked.
    ///
    /// # Errors
    /// Why it could not, or why it can't be known.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn opened(&self) -> Result<(), Reset> {
        loop {
            let changed = self.shared.opened.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.shared.state.lock();
                match state.core.end() {
                    Some(End::ResetHere(reset) | End::ResetThere(reset)) => return Err(reset),
                    Some(End::Finished) => return Ok(()),
                    None if state.core.is_opened() => return Ok(()),
                    None => {}
                }
            }
            changed.await;
        }
    }

    /// Waits until the stream is over, however it ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&self) {
        loop {
            let changed = self.shared.opened.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.state.lock().core.end().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Says that what was asked has been done.
    pub fn set_opened(&self) {
        self.with(|core| core.opened());
    }

    /// Gives the stream up for that reason.
    pub fn reset(self, reset: Reset) {
        self.with(|core| core.reset(reset));
    }

    /// How the stream ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.shared.state.lock().core.end()
    }

    fn with(&self, change: impl FnOnce(&mut protocol::stream::Stream)) {
        let mut state = self.shared.state.lock();
        change(&mut state.core);
        state.pump(now_ms());
        self.shared.rearm(&state);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.state.lock();
        let mut has_read = false;
        while buf.remaining() > 0
            && let Some(bytes) = state.core.read(buf.remaining())
        {
            buf.put_slice(&bytes);
            has_read = true;
        }
        if has_read {
            // The far end may be waiting for room.
            state.pump(now_ms());
            return Poll::Ready(Ok(()));
        }
        if state.core.is_read_out() || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = state.core.end() {
            return Poll::Ready(Err(error_of(end)));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.shared.state.lock();
        if let Some(end) = state.core.end() {
            return Poll::Ready(Err(error_of(end)));
        }
        if state.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = state.core.room();
        if room == 0 && !buf.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let part = buf.get(..room.min(buf.len())).unwrap_or_default();
        if !state.core.write(Bytes::copy_from_slice(part)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.pump(now_ms());
        self.shared.rearm(&state);
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is on its way, or will be as soon as there is room for it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.state.lock().is_shut = true;
        self.with(protocol::stream::Stream::finish);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.with(|core| {
            if !core.is_closed_here() {
                core.reset(Reset::Aborted);
            }
        });
    }
}
