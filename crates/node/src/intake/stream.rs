//! Server-Sent Events: one base64 line per item, and a comment now and then so that a silent stream
//! can be told from a dead one.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Body;
use crate::config::STREAM_COMMENT_EVERY;

/// The body of an event stream that carries `items`, until they or the node end.
pub(super) fn events(items: mpsc::Receiver<Bytes>, stop: CancellationToken) -> Body {
    Events {
        items,
        stop: Box::pin(stop.cancelled_owned()),
        comment: Box::pin(tokio::time::sleep(STREAM_COMMENT_EVERY)),
    }
    .boxed_unsync()
}

struct Events {
    items: mpsc::Receiver<Bytes>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    comment: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(item) = self.items.poll_recv(cx) {
            self.comment
                .as_mut()
                .reset(Instant::now() + STREAM_COMMENT_EVERY);
            return Poll::Ready(item.map(|item| Ok(Frame::data(event(&item)))));
        }
        ready!(self.comment.as_mut().poll(cx));
        self.comment
            .as_mut()
            .reset(Instant::now() + STREAM_COMMENT_EVERY);
        cx.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}

fn event(item: &[u8]) -> Bytes {
    let mut text = String::with_capacity(item.len() / 3 * 4 + 16);
    text.push_str("data: ");
    STANDARD.encode_string(item, &mut text);
    text.push_str("\n\n");
    text.into()
}
