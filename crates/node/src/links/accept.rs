//! The answering end of a link.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, INITIAL_CREDIT_BYTES, Incoming};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Reply;
use super::pipe::{
    Frames, Outgoing, PipeError, QUEUE_FRAMES, read_handshake, write_frames, write_handshake,
};
use crate::config::{DRAIN_TIMEOUT, MAX_REQUESTS_PER_LINK};
use crate::forward::{Arrived, Router};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream's sender may not save up more credit than this.
const MAX_CREDIT_BYTES: i64 = 16 << 20;

#[derive(Debug, Error)]
pub(crate) enum AcceptError {
    #[error("the handshake took too long")]
    Slow,
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the handshake failed")]
    Handshake(#[from] protocol::session::SessionError),
    #[error("the dialer is no node of the ledger")]
    Stranger,
    #[error(transparent)]
    Pipe(#[from] PipeErrorOf),
}

/// Hides the pipe's own error type behind the link's.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) struct PipeErrorOf(#[from] PipeError);

struct Request {
    cancelled: CancellationToken,
    credit: Arc<Credit>,
}

struct Credit {
    bytes: AtomicI64,
    granted: Notify,
}

struct Serving {
    router: Arc<Router>,
    peer: NodeId,
    queue: mpsc::Sender<Outgoing>,
    requests: Mutex<HashMap<u64, Request>>,
    room: Arc<Semaphore>,
}

/// Serves a link that another node has dialled, until it ends or the node stops.
pub(crate) async fn accept(
    mut socket: TcpStream,
    early: Bytes,
    router: Arc<Router>,
) -> Result<(), AcceptError> {
    socket.set_nodelay(true)?;
    let local = router.local();
    let exchange = async {
        let message = if early.is_empty() {
            read_handshake(&mut socket).await?
        } else {
            let mut joined = tokio::io::AsyncReadExt::chain(&early[..], &mut socket);
            read_handshake(&mut joined).await?
        };
        let (peer, answer, sealer, opener) =
            Handshake::accept(local.me, &local.transport_secret, 0, &message)?;
        let known = router
            .ledger()
            .node(&peer.node)
            .is_some_and(|n| n.transport_key == peer.transport_key);
        if !known || peer.node == local.me {
            return Err(AcceptError::Stranger);
        }
        write_handshake(&mut socket, &answer).await?;
        Ok((peer, sealer, opener))
    };
    let (peer, sealer, opener) = tokio::time::timeout(HANDSHAKE_TIMEOUT, exchange)
        .await
        .map_err(|_| AcceptError::Slow)??;

    let (queue, queued) = mpsc::channel(QUEUE_FRAMES);
    let (read_half, write_half) = socket.into_split();
    let serving = Arc::new(Serving {
        router: Arc::clone(&router),
        peer: peer.node,
        queue,
        requests: Mutex::default(),
        room: Arc::new(Semaphore::new(MAX_REQUESTS_PER_LINK)),
    });
    let metrics = Arc::clone(router.metrics());
    metrics.links_in.inc();
    let shutdown = router.shutdown().clone();
    let mut writing = tokio::spawn(write_frames(write_half, sealer, queued, false));
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        ended = &mut writing => ended.unwrap_or(Ok(())),
        ended = Arc::clone(&serving).read(Frames::new(read_half, opener, BytesMut::new())) => ended,
    };
    if shutdown.is_cancelled() {
        // Say so, let what is under way finish, then go.
        let _full = serving
            .queue
            .try_send(Outgoing::control(Header::control(Kind::GoAway, 0)));
        let all = serving.room.acquire_many(MAX_REQUESTS_PER_LINK as u32);
        let _slow = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
    }
    for (_, request) in serving.requests.lock().drain() {
        request.cancelled.cancel();
    }
    drop(serving);
    let _slow = tokio::time::timeout(DRAIN_TIMEOUT, &mut writing).await;
    writing.abort();
    metrics.links_in.dec();
    ended.map_err(|e| PipeErrorOf(e).into())
}

impl Serving {
    async fn read(
        self: Arc<Self>,
        mut frames: Frames<tokio::net::tcp::OwnedReadHalf>,
    ) -> Result<(), PipeError> {
        loop {
            let Incoming { header, payload } = frames.next().await?;
            match header.kind {
                Kind::Packet => {
                    // A full house stops the reader, and so, by TCP, the dialer.
                    let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
                        return Ok(());
                    };
                    let cancelled = CancellationToken::new();
                    let credit = Arc::new(Credit {
                        bytes: AtomicI64::new(i64::from(INITIAL_CREDIT_BYTES)),
                        granted: Notify::new(),
                    });
                    let request = Request {
                        cancelled: cancelled.clone(),
                        credit: Arc::clone(&credit),
                    };
                    self.requests.lock().insert(header.request, request);
                    let serving = Arc::clone(&self);
                    tokio::spawn(async move {
                        tokio::select! {
                            biased;
                            () = cancelled.cancelled() => {}
                            () = serving.answer(header, payload, &credit, room) => {}
                        }
                        serving.requests.lock().remove(&header.request);
                    });
                }
                Kind::Cancel => {
                    if let Some(request) = self.requests.lock().remove(&header.request) {
                        request.cancelled.cancel();
                    }
                }
                Kind::Credit => {
                    if let Some(request) = self.requests.lock().get(&header.request) {
                        let credit = &request.credit;
                        let before = credit
                            .bytes
                            .fetch_add(i64::from(header.credit), Ordering::AcqRel);
                        if before > MAX_CREDIT_BYTES {
                            credit.bytes.store(MAX_CREDIT_BYTES, Ordering::Release);
                        }
                        credit.granted.notify_one();
                    }
                }
                Kind::Ping => {
                    let pong = Outgoing::control(Header::control(Kind::Pong, header.request));
                    if self.queue.send(pong).await.is_err() {
                        return Err(PipeError::Closed);
                    }
                }
                // A dialer has nothing to answer here.
                Kind::Answer | Kind::Item | Kind::Pong | Kind::GoAway => {}
            }
        }
    }

    async fn answer(
        &self,
        header: Header,
        packet: Bytes,
        credit: &Credit,
        room: tokio::sync::OwnedSemaphorePermit,
    ) {
        let arrived = Arrived::from_link(self.peer, header, packet);
        match self.router.route(arrived).await {
            Reply::Answer(payload) => {
                self.send(
                    Header::answer(header.request, packet::SizeClass::K4, 0),
                    payload,
                )
                .await;
            }
            Reply::Stream(mut items) => {
                // Streams last for days; only what is short counts against the link's room.
                drop(room);
                while let Some(item) = items.recv().await {
                    let region = packet::SizeClass::for_packet_len(item.len())
                        .map_or(0, packet::SizeClass::frame_bytes);
                    while credit.bytes.load(Ordering::Acquire) <= 0 {
                        credit.granted.notified().await;
                    }
                    credit.bytes.fetch_sub(region as i64, Ordering::AcqRel);
                    self.send(Header::item(header.request, packet::SizeClass::K4, 0), item)
                        .await;
                }
                let end = protocol::answer::Answer::Done.encode();
                self.send(
                    Header::answer(header.request, packet::SizeClass::K4, 0),
                    end.into(),
                )
                .await;
            }
        }
    }

    async fn send(&self, header: Header, payload: Bytes) {
        if packet::SizeClass::for_packet_len(payload.len()).is_some() {
            let _gone = self.queue.send(Outgoing { header, payload }).await;
        }
    }
}
