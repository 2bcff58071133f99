//! A stream as programs use it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::stream::{End, Reset};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use crate::driver::{Shared, error_of};
use crate::now_ms;

/// How long the far end, once it has all, may take to end its direction when nobody reads that any more.
const LINGER: Duration = Duration::from_secs(5);
/// The same of all that was written: then it is given up.
const LINGER_AT_MOST: Duration = Duration::from_secs(120);
/// How often a lingering stream is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is read of one at once.
const THROWN_AWAY_BYTES: usize = 16 * 1024;

/// One end of a stream: reads and writes like a socket, in both directions at once.
///
/// Shutting it down ends this direction; the other one stays open. Dropping it before that resets it; dropping it after that
/// lets what was written arrive, then gives the far end a little time to end its direction too, and resets it else.
pub struct Stream {
    shared: Arc<Shared>,
    /// Dropping it does not end what was written.
    may_linger: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(…)")
    }
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            may_linger: true,
        }
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
        let has_ended = {
            let state = self.shared.state.lock();
            if state.core.is_closed_here() {
                return;
            }
            self.may_linger && state.is_shut && state.core.end().is_none()
        };
        let runtime = match has_ended {
            true => tokio::runtime::Handle::try_current().ok(),
            false => None,
        };
        match runtime {
            Some(runtime) => {
                runtime.spawn(linger(Self {
                    shared: Arc::clone(&self.shared),
                    may_linger: false,
                }));
            }
            None => self.with(|core| core.reset(Reset::Aborted)),
        }
    }
}

/// Sees what was written to its end, of a stream that nobody reads here any more: a reset at once would overtake it.
/// What comes meanwhile is thrown away, as by a socket that is closed slowly.
async fn linger(mut stream: Stream) {
    let shared = Arc::clone(&stream.shared);
    let arrived = async {
        while !shared.state.lock().core.is_flushed() {
            sleep(LOOK_EVERY).await;
        }
        sleep(LINGER).await;
    };
    let thrown_away = async {
        let mut buffer = vec![0; THROWN_AWAY_BYTES];
        while stream
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    tokio::select! {
        biased;
        () = thrown_away => {}
        () = arrived => {}
        () = sleep(LINGER_AT_MOST) => {}
    }
    if !shared.state.lock().core.is_closed_here() {
        stream.reset(Reset::Aborted);
    }
}
