//! Bodies that are kept until their digest is known: small ones in memory, large ones in files without a name.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use signin::{BodyDigest, BodyHasher};
use tokio::io::{AsyncRead as _, AsyncSeekExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Outgoing, SigningError};

/// A body up to this size is kept in memory.
pub const MAX_BODY_IN_MEMORY_BYTES: usize = 1024 * 1024;
/// Bodies kept at once; who comes later waits.
pub const MAX_BODIES_KEPT: usize = 64;
/// Bytes in files at once by default, of all bodies together.
pub const DEFAULT_MAX_SPOOLED_BYTES: u64 = 8 << 30;
/// How long a client may stop in the middle of its body: it has a place that others wait for.
const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes read from a file at once.
const READ_BYTES: usize = 64 * 1024;

/// Where bodies are kept.
pub(super) struct Spool {
    folder: Option<PathBuf>,
    room: Arc<Room>,
    places: Arc<Semaphore>,
}

/// How much is in files, of how much that may be.
struct Room {
    max_bytes: u64,
    taken_bytes: AtomicU64,
}

/// A part of the room, given back on drop.
struct Share {
    room: Arc<Room>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> Result<(), SigningError> {
        let max_bytes = self.room.max_bytes;
        let taken = self.room.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        match taken.saturating_add(bytes) > max_bytes {
            true => Err(SigningError::TooLarge { max_bytes }),
            false => Ok(()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room
            .taken_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Spool {
    pub(super) fn new(folder: Option<PathBuf>, max_bytes: u64) -> Self {
        let taken_bytes = AtomicU64::new(0);
        Self {
            folder,
            room: Arc::new(Room {
                max_bytes,
                taken_bytes,
            }),
            places: Arc::new(Semaphore::new(MAX_BODIES_KEPT)),
        }
    }

    /// Reads a body to its end, and gives it back with its digest; of an empty one there is none.
    pub(super) async fn keep(
        &self,
        mut incoming: Incoming,
    ) -> Result<(Option<BodyDigest>, Outgoing), SigningError> {
        let announced = incoming.size_hint().lower();
        let max_bytes = self.room.max_bytes;
        if announced > MAX_BODY_IN_MEMORY_BYTES as u64 && announced > max_bytes {
            return Err(SigningError::TooLarge { max_bytes });
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let Ok(place) = place else {
            return Err(SigningError::TooLarge { max_bytes });
        };
        let mut hasher = BodyHasher::default();
        let mut memory = Vec::new();
        let mut file: Option<Spooled> = None;
        while let Some(frame) = timeout(BODY_IDLE_TIMEOUT, incoming.frame())
            .await
            .map_err(|_| SigningError::BrokenOff)?
        {
            let frame = frame.map_err(|_| SigningError::BrokenOff)?;
            // Trailers are not signed, and so not sent.
            let Ok(part) = frame.into_data() else {
                continue;
            };
            hasher.update(&part);
            match &mut file {
                Some(file) => file.write(&part).await?,
                None if memory.len() + part.len() <= MAX_BODY_IN_MEMORY_BYTES => {
                    memory.extend_from_slice(&part);
                }
                None => {
                    let file = file.insert(self.file()?);
                    file.write(&std::mem::take(&mut memory)).await?;
                    file.write(&part).await?;
                }
            }
        }
        let body = match file {
            Some(file) => Kept::File(file.rewound().await?).with(place),
            None if memory.is_empty() => return Ok((None, nothing())),
            None => Kept::Memory(Full::from(memory)).with(place),
        };
        Ok((Some(hasher.finish()), body))
    }

    fn file(&self) -> Result<Spooled, SigningError> {
        let made = match &self.folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        };
        let room = Arc::clone(&self.room);
        Ok(Spooled::new(
            made.map_err(SigningError::Disk)?,
            Share { room, bytes: 0 },
        ))
    }
}

/// A body in a file.
struct Spooled {
    file: tokio::fs::File,
    left_bytes: u64,
    buffer: Box<[u8]>,
    share: Share,
}

impl Spooled {
    fn new(file: File, share: Share) -> Self {
        Self {
            file: tokio::fs::File::from_std(file),
            left_bytes: 0,
            buffer: vec![0; READ_BYTES].into(),
            share,
        }
    }

    async fn write(&mut self, part: &[u8]) -> Result<(), SigningError> {
        self.share.grow(part.len() as u64)?;
        self.left_bytes += part.len() as u64;
        self.file.write_all(part).await.map_err(SigningError::Disk)
    }

    async fn rewound(mut self) -> Result<Self, SigningError> {
        self.file.flush().await.map_err(SigningError::Disk)?;
        self.file.rewind().await.map_err(SigningError::Disk)?;
        Ok(self)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = ready!(Pin::new(&mut self.file).poll_read(cx, &mut buffer));
        let part = Bytes::copy_from_slice(buffer.filled());
        if let Err(error) = read {
            return Poll::Ready(Some(Err(error)));
        }
        let left = self.left_bytes.checked_sub(part.len() as u64);
        let Some(left) = left.filter(|_| !part.is_empty()) else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        self.left_bytes = left;
        Poll::Ready(Some(Ok(part)))
    }
}

/// A body that was kept, and the place it takes until it has gone.
enum Kept {
    Memory(Full<Bytes>),
    File(Spooled),
}

struct InPlace {
    kept: Kept,
    _place: OwnedSemaphorePermit,
}

impl Kept {
    fn with(self, place: OwnedSemaphorePermit) -> Outgoing {
        let kept = InPlace {
            kept: self,
            _place: place,
        };
        kept.map_err(Into::into).boxed_unsync()
    }
}

impl Body for InPlace {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().kept {
            Kept::Memory(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Kept::File(file) => file.poll_part(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kept {
            Kept::Memory(body) => body.is_end_stream(),
            Kept::File(file) => file.left_bytes == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kept {
            Kept::Memory(body) => body.size_hint(),
            Kept::File(file) => SizeHint::with_exact(file.left_bytes),
        }
    }
}

/// No body at all.
pub(super) fn nothing() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
