//! Server-Sent Events: one base64 line per item, and a comment now and then so that a silent stream
//! can be told from a dead one.
//!
//! A stream lasts for days and mostly says nothing, so it takes its connection over from the HTTP server: the buffers and
//! the state of a request, four times as large as all that a stream needs, go.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::ItemsSealer;
use crate::config::STREAM_COMMENT_EVERY;
use crate::links::Items;

/// Bytes of events that wait to be taken by their readers, over which a reader is not waited for long.
const MAX_UNREAD_BYTES: usize = 256 << 20;
/// How long one is then.
const CROWDED_STALL: Duration = Duration::from_secs(2);
/// Bytes that are encoded and written in one go; a multiple of three.
const PIECE_BYTES: usize = 48 * 1_024;

/// An event stream that has not begun yet.
pub(super) struct Events {
    head: Response<()>,
    items: Items,
    sealer: Option<ItemsSealer>,
    ends: Option<Instant>,
    /// Whether the client understands chunks; else the stream ends with the connection.
    chunked: bool,
}

/// The bytes that wait for readers at this node.
#[derive(Debug, Default)]
pub(crate) struct Unread(AtomicUsize);

impl Unread {
    fn is_crowded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_UNREAD_BYTES
    }

    fn count(&self, bytes: usize) -> Counted<'_> {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Counted(self, bytes)
    }
}

/// Some of them, until it is dropped.
struct Counted<'u>(&'u Unread, usize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Events {
    /// A stream of `items` as they are.
    pub(super) fn new(head: Response<()>, items: Items) -> Self {
        Self {
            head,
            items,
            sealer: None,
            ends: None,
            chunked: true,
        }
    }

    /// The same with each item sealed, for no longer than `left`.
    pub(super) fn sealed(mut self, sealer: ItemsSealer, left: Duration) -> Self {
        self.sealer = Some(sealer);
        self.ends = Instant::now().checked_add(left);
        self
    }

    /// The same for a client of that version.
    pub(super) fn for_version(mut self, version: http::Version) -> Self {
        self.chunked = version >= http::Version::HTTP_11;
        self
    }

    /// Writes the stream until it, its reader or the node ends.
    pub(super) async fn run(
        mut self,
        mut socket: impl AsyncRead + AsyncWrite + Unpin,
        unread: &Unread,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let head = self.head();
        self.head = Response::new(());
        socket.write_all(head.as_bytes()).await?;
        drop(head);
        let comment = tokio::time::sleep(STREAM_COMMENT_EVERY);
        tokio::pin!(comment);
        loop {
            let mut said = [0; 1];
            let item = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                item = self.items.recv() => match item {
                    Some(item) => Some(item),
                    None => break,
                },
                // It has gone, or speaks out of turn: its next request needs another connection.
                _ = socket.read(&mut said) => return Ok(()),
                () = comment.as_mut() => None,
            };
            if self.ends.is_some_and(|ends| Instant::now() >= ends) {
                break;
            }
            let event = match item {
                Some(item) => match self.event(item) {
                    Some(event) => event,
                    None => break,
                },
                None => Event::Comment,
            };
            let _counted = unread.count(event.bytes());
            let chunked = self.chunked;
            tokio::select! {
                biased;
                written = write(&mut socket, event, chunked, unread) => written?,
                // In the middle of an event: there is no orderly end.
                () = stop.cancelled() => return Ok(()),
            }
            let mut next = Instant::now() + STREAM_COMMENT_EVERY;
            if let Some(ends) = self.ends {
                next = next.min(ends);
            }
            comment.as_mut().reset(next);
        }
        if self.chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        socket.shutdown().await
    }

    fn head(&self) -> String {
        let mut text = String::from("HTTP/1.1 200 OK\r\n");
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut field = |name: &str, value: &str| {
            text.extend([name, ": ", value, "\r\n"]);
        };
        for (name, value) in self.head.headers() {
            field(name.as_str(), value.to_str().unwrap_or_default());
        }
        if self.chunked {
            field("transfer-encoding", "chunked");
        }
        field("connection", "close");
        field("date", &date);
        text.push_str("\r\n");
        text
    }

    fn event(&mut self, item: Bytes) -> Option<Event> {
        match &mut self.sealer {
            Some(sealer) => sealer.seal(&item).map(Event::Sealed),
            None => Some(Event::Plain(item)),
        }
    }
}

/// What is written in one chunk.
enum Event {
    Comment,
    Plain(Bytes),
    Sealed(Vec<u8>),
}

impl Event {
    fn data(&self) -> &[u8] {
        match self {
            Self::Comment => &[],
            Self::Plain(item) => item,
            Self::Sealed(item) => item,
        }
    }

    fn bytes(&self) -> usize {
        self.data().len()
    }
}

async fn write(
    socket: &mut (impl AsyncWrite + Unpin),
    event: Event,
    chunked: bool,
    unread: &Unread,
) -> io::Result<()> {
    let (before, after) = match event {
        Event::Comment => (":", "\n\n"),
        _ => ("data: ", "\n\n"),
    };
    let length = before.len() + event.bytes().div_ceil(3) * 4 + after.len();
    let mut text = String::with_capacity(length.min(PIECE_BYTES / 3 * 4) + 32);
    if chunked {
        text.push_str(&format!("{length:x}\r\n"));
    }
    text.push_str(before);
    let mut pieces = event.data().chunks(PIECE_BYTES).peekable();
    loop {
        if let Some(piece) = pieces.next() {
            STANDARD.encode_string(piece, &mut text);
        }
        let is_last = pieces.peek().is_none();
        if is_last {
            text.push_str(after);
            if chunked {
                text.push_str("\r\n");
            }
        }
        write_patiently(socket, text.as_bytes(), unread).await?;
        if is_last {
            return Ok(());
        }
        text.clear();
    }
}

/// Waits for a reader as long as the connection does, or a moment where too much waits for readers.
async fn write_patiently(
    socket: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    unread: &Unread,
) -> io::Result<()> {
    let writing = socket.write_all(bytes);
    tokio::pin!(writing);
    loop {
        match tokio::time::timeout(CROWDED_STALL, writing.as_mut()).await {
            Ok(written) => return written,
            Err(_) if unread.is_crowded() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
