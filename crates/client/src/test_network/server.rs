//! The HTTP side of a test node: handshakes, exchanges and event streams.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use packet::SizeClass;
use parking_lot::Mutex;
use protocol::answer::Answer;
use protocol::frame::{self, Header};
use protocol::session::{ExchangeId, NodeSession, SessionId, session_id};
use rand::rngs::OsRng;
use tokio::net::TcpListener;

use super::arrival::Outcome;
use super::{FakeNode, StreamFault, World};
use crate::clock::unix_ms;

/// A node's sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: Mutex<HashMap<SessionId, Arc<NodeSession>>>,
    made: AtomicUsize,
}

impl Sessions {
    pub(super) fn forget(&self) {
        self.live.lock().clear();
    }

    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

/// A body that may end badly or not at all.
#[derive(Debug)]
pub(super) struct Pieces {
    data: Option<Bytes>,
    end: End,
    /// What was sent before the end gets this long to arrive.
    pause: Pin<Box<tokio::time::Sleep>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    Broken,
    Never,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match (self.data.take(), self.end) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, End::Orderly) => Poll::Ready(None),
            (None, End::Broken) => self
                .pause
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(std::io::Error::other("broken")))),
            (None, End::Never) => Poll::Pending,
        }
    }
}

pub(super) async fn serve(listener: TcpListener, world: Arc<World>, place: usize) {
    while let Ok((socket, _)) = listener.accept().await {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&world), place, request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(
    world: Arc<World>,
    place: usize,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Infallible> {
    let node = &world.nodes[place];
    if node.faults.lock().hangs {
        std::future::pending::<()>().await;
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes().to_vec())
        .unwrap_or_default();
    Ok(exchange(&world, node, body)
        .unwrap_or_else(|status| respond(status, "text/html", Vec::new(), End::Orderly)))
}

fn respond(status: StatusCode, content_type: &str, body: Vec<u8>, end: End) -> Response<Pieces> {
    let pause = Box::pin(tokio::time::sleep(std::time::Duration::from_millis(100)));
    let pieces = Pieces {
        data: Some(body.into()),
        end,
        pause,
    };
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(pieces)
        .unwrap()
}

fn exchange(
    world: &World,
    node: &FakeNode,
    mut body: Vec<u8>,
) -> Result<Response<Pieces>, StatusCode> {
    if node.faults.lock().down {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let known = session_id(&body).and_then(|id| node.sessions.live.lock().get(id).cloned());
    let Some(session) = known else {
        return shake_hands(node, &body);
    };
    let (exchange, frame) = session.open(&mut body).map_err(|_| StatusCode::NOT_FOUND)?;
    let (header, payload) = frame::split(frame).map_err(|_| StatusCode::BAD_REQUEST)?;
    let outcome = world.arrive(node, None, Bytes::copy_from_slice(payload), header.stamp);
    Ok(match outcome {
        Outcome::Answer(answer) => {
            let sealed = seal(&session, exchange, 0, &answer, false);
            respond(
                StatusCode::OK,
                "application/octet-stream",
                sealed,
                End::Orderly,
            )
        }
        Outcome::Stream(answers, fault) => {
            assert!(header.stream, "a stream is sent only to who asked for one");
            stream(&session, exchange, &answers, fault)
        }
    })
}

fn shake_hands(node: &FakeNode, body: &[u8]) -> Result<Response<Pieces>, StatusCode> {
    let accepted = NodeSession::accept(
        &node.id,
        &node.transport_secret,
        0,
        body,
        unix_ms(),
        &mut OsRng,
    );
    let (session, response) = accepted.map_err(|_| StatusCode::NOT_FOUND)?;
    node.sessions.made.fetch_add(1, Ordering::Relaxed);
    node.sessions
        .live
        .lock()
        .insert(*session.id(), Arc::new(session));
    Ok(respond(
        StatusCode::OK,
        "application/octet-stream",
        response,
        End::Orderly,
    ))
}

fn seal(
    session: &NodeSession,
    exchange: ExchangeId,
    item: u64,
    answer: &Answer,
    more: bool,
) -> Vec<u8> {
    let header = if more {
        Header::item(0, SizeClass::K4, 0)
    } else {
        Header::answer(0, SizeClass::K4, 0)
    };
    let mut out = Vec::new();
    assert!(frame::append(&mut out, header, &answer.encode()));
    session.seal(exchange, item, &mut out, 0);
    out
}

fn stream(
    session: &NodeSession,
    exchange: ExchangeId,
    answers: &[Answer],
    fault: StreamFault,
) -> Response<Pieces> {
    let mut events: Vec<String> = (0_u64..)
        .zip(answers)
        .map(|(item, answer)| {
            format!(
                "data: {}\n\n",
                STANDARD.encode(seal(session, exchange, item, answer, true))
            )
        })
        .collect();
    let mut end = End::Orderly;
    match fault {
        StreamFault::None | StreamFault::Reordered => {}
        StreamFault::Cut => drop(events.pop()),
        StreamFault::Broken => {
            let last = events.last_mut().unwrap();
            last.truncate(last.len() / 2);
            end = End::Broken;
        }
        StreamFault::Repeated => events.insert(1, events[0].clone()),
        StreamFault::Silent => {
            events.pop();
            end = End::Never;
        }
    }
    let body = format!(": welcome\n\n{}", events.concat());
    respond(StatusCode::OK, "text/event-stream", body.into_bytes(), end)
}
