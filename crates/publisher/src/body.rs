//! Bodies on their way: none is ever held whole, but for small ones that are compared before the server sees them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use signin::{BodyDigest, BodyHasher};
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A signed body up to this size is compared with its digest before the server sees any of it. A larger one is compared
/// while it passes, and broken off before its last bytes if it is another.
pub(crate) const MAX_COMPARED_FIRST_BYTES: usize = 1024 * 1024;

/// What is sent to a caller.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What is sent to the server.
///
/// One part is always kept back until the next one is there, so that no body that turns out another at its end was whole
/// to the server. Trailers are left out: they would come after the head, where the wallet has been told (RFC 9110 section
/// 6.5.1 lets them be).
pub(crate) struct RequestBody {
    early: VecDeque<Bytes>,
    incoming: Option<Incoming>,
    check: Option<(BodyHasher, BodyDigest)>,
    kept_back: Option<Bytes>,
    progress: Arc<Progress>,
}

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    #[error("the body is not the one that was signed")]
    Digest,
    #[error("the body of the request broke off")]
    BrokenOff,
}

/// How far a request has come, for who waits for its answer.
pub(crate) struct Progress {
    began: Instant,
    moved_ms: AtomicU64,
    state: AtomicU8,
}

const UNDER_WAY: u8 = 0;
const ENDED: u8 = 1;
const FORGED: u8 = 2;
const BROKEN: u8 = 3;

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            moved_ms: AtomicU64::new(0),
            state: AtomicU8::new(UNDER_WAY),
        })
    }

    fn moved(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    fn end(&self, state: u8) {
        self.moved();
        self.state.store(state, Ordering::Relaxed);
    }

    /// Whether the whole body has gone to the server.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ENDED
    }

    /// Why the body broke off, if it did.
    pub(crate) fn failure(&self) -> Option<BodyError> {
        match self.state.load(Ordering::Relaxed) {
            FORGED => Some(BodyError::Digest),
            BROKEN => Some(BodyError::BrokenOff),
            _ => None,
        }
    }

    /// Ends when nothing has moved for so long.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let moved_ms = self.moved_ms.load(Ordering::Relaxed);
            tokio::time::sleep_until(self.began + Duration::from_millis(moved_ms) + limit).await;
            if self.moved_ms.load(Ordering::Relaxed) == moved_ms {
                return;
            }
        }
    }
}

impl RequestBody {
    /// Passes on what comes, as it comes.
    pub(crate) fn streamed(incoming: Incoming, progress: &Arc<Progress>) -> Self {
        if incoming.is_end_stream() {
            progress.end(ENDED);
        }
        Self {
            early: VecDeque::new(),
            incoming: Some(incoming),
            check: None,
            kept_back: None,
            progress: Arc::clone(progress),
        }
    }

    /// Passes on what hashes to `digest`. If it is small, it has been compared when this returns.
    ///
    /// # Errors
    /// A body that is another, or broke off.
    pub(crate) async fn compared(
        incoming: Incoming,
        digest: BodyDigest,
        progress: &Arc<Progress>,
    ) -> Result<Self, BodyError> {
        let mut body = Self::streamed(incoming, progress);
        body.check = Some((BodyHasher::default(), digest));
        let is_small = |length: u64| length <= MAX_COMPARED_FIRST_BYTES as u64;
        let announced = body.incoming.as_ref().map(|incoming| incoming.size_hint());
        if announced.is_some_and(|hint| !is_small(hint.lower())) {
            return Ok(body);
        }
        let (mut early, mut length) = (VecDeque::new(), 0);
        while length <= MAX_COMPARED_FIRST_BYTES {
            let Some(part) = body.incoming_part().await? else {
                break;
            };
            length += part.len();
            early.push_back(part);
        }
        if body.incoming.is_none() {
            let mut hasher = BodyHasher::default();
            early.iter().for_each(|part| hasher.update(part));
            if hasher.finish() != digest {
                return Err(BodyError::Digest);
            }
            body.check = None;
        }
        body.early = early;
        Ok(body)
    }

    /// The next part from the caller; the caller's end is remembered.
    async fn incoming_part(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(incoming) = &mut self.incoming {
            match incoming.frame().await {
                None => self.incoming = None,
                Some(Err(_)) => return Err(BodyError::BrokenOff),
                Some(Ok(frame)) => {
                    self.progress.moved();
                    if let Ok(part) = frame.into_data() {
                        return Ok(Some(part));
                    }
                }
            }
        }
        Ok(None)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(part) = self.early.pop_front() {
            return Poll::Ready(Some(Ok(part)));
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        loop {
            let Poll::Ready(next) = Pin::new(&mut *incoming).poll_frame(cx) else {
                return Poll::Pending;
            };
            match next {
                None => {
                    self.incoming = None;
                    return Poll::Ready(None);
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::BrokenOff))),
                Some(Ok(frame)) => {
                    self.progress.moved();
                    if let Ok(part) = frame.into_data() {
                        return Poll::Ready(Some(Ok(part)));
                    }
                }
            }
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        self.kept_back = None;
        self.progress.end(match error {
            BodyError::Digest => FORGED,
            BodyError::BrokenOff => BROKEN,
        });
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        loop {
            let Poll::Ready(next) = body.poll_part(cx) else {
                return Poll::Pending;
            };
            match next {
                Some(Err(error)) => return body.fail(error),
                Some(Ok(part)) => {
                    let Some((hasher, _)) = &mut body.check else {
                        if body.is_end_stream() {
                            // Nobody will ask for more.
                            body.progress.end(ENDED);
                        }
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    };
                    hasher.update(&part);
                    if let Some(before) = body.kept_back.replace(part) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                None => {
                    if let Some((hasher, digest)) = body.check.take()
                        && hasher.finish() != digest
                    {
                        return body.fail(BodyError::Digest);
                    }
                    body.progress.end(ENDED);
                    return Poll::Ready(body.kept_back.take().map(|last| Ok(Frame::data(last))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.incoming.as_ref().is_none_or(Body::is_end_stream);
        is_over && self.early.is_empty() && self.kept_back.is_none() && self.check.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let early = self.early.iter().chain(&self.kept_back);
        let early: u64 = early.map(|part| part.len() as u64).sum();
        let incoming = self.incoming.as_ref();
        let rest = incoming.map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(early));
        }
        hint.set_lower(rest.lower().saturating_add(early));
        hint
    }
}

/// An answer's body, and the place that its request takes until it has gone.
pub(crate) fn answer(incoming: Incoming, place: OwnedSemaphorePermit) -> AnswerBody {
    let passed = incoming.map_frame(move |frame| {
        let _place = &place;
        frame
    });
    passed.boxed_unsync()
}

/// No body at all.
pub(crate) fn nothing() -> AnswerBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
