//! Exchanges with an entry node: one session each, HTTP below it, frames above it
//! (`docs/wire-format.md`, 5 and 6).
//!
//! A session ends when it has expired or when the node answers anything that is not sealed under it,
//! for instance because it was restarted; then hands are shaken anew and the exchange is repeated, once.
//! What a request looks like is a [`SiteProfile`]'s.

mod events;
mod http_client;
mod sessions;
mod site_profile;
mod stream;

pub(crate) use site_profile::Bare;
pub(crate) use stream::Stream;
pub use stream::StreamError;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use packet::MAX_PACKET_BYTES;
use protocol::answer::{Answer, CodecError};
use protocol::frame::{self, HEADER_BYTES, Header, Kind};
use protocol::session::{EXCHANGE_OVERHEAD_BYTES, ExchangeId, SessionError};

use crate::clock::Clocks;
use crate::directory::{EndpointError, Node};
use http_client::{HttpClient, HttpError};
use sessions::{Session, Sessions};
use site_profile::SiteProfile;

/// Longest answer in bytes: a frame of the largest class, sealed.
const MAX_ANSWER_BYTES: usize = HEADER_BYTES + MAX_PACKET_BYTES + EXCHANGE_OVERHEAD_BYTES;
/// Sessions tried for one exchange: the present one and one new one.
const SESSION_TRIES: usize = 2;

/// Why an exchange with an entry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The node's endpoint is of no use.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There is no connection, or it broke.
    #[error("the entry node can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No handshake in time.
    #[error("the entry node did not shake hands in time")]
    Timeout,
    /// The handshake went well but no answer came in time, from the entry or from who is behind it.
    #[error("no answer came through the entry node in time")]
    NoAnswer,
    /// What came is longer than any answer.
    #[error("the entry node's answer is longer than any answer may be")]
    TooLong,
    /// The node did not prove to hold its key, or speaks another version.
    #[error("the entry node did not shake hands as the ledger says it should")]
    Handshake(#[source] SessionError),
    /// The node does not take exchanges, even in a fresh session.
    #[error("the entry node answers like a plain web site")]
    NotANode,
    /// The node sealed something that is no answer.
    #[error("the entry node's answer is malformed")]
    Malformed(#[source] Option<CodecError>),
    /// What is to be sent fits no frame.
    #[error("the packet is larger than any frame")]
    TooLarge,
}

impl From<HttpError> for ExchangeError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(source) => Self::Unreachable(source),
            HttpError::Timeout => Self::Timeout,
            HttpError::TooLong => Self::TooLong,
        }
    }
}

/// How long an entry may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// For a handshake: two packets and some arithmetic.
    pub(crate) handshake: Duration,
    /// For an answer, which may have crossed the network and waited for a disk.
    pub(crate) answer: Duration,
    /// For the next sign of life of a stream, be it a comment.
    pub(crate) silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(90),
        }
    }
}

/// What an entry gave back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One answer.
    Answer(Answer),
    /// A stream of items.
    Stream(Stream),
}

/// Speaks to entries. Shared by all that a client does at once.
#[derive(Debug)]
pub(crate) struct Transport {
    http: HttpClient,
    profile: Arc<dyn SiteProfile>,
    sessions: Sessions,
    clocks: Arc<Clocks>,
    timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(
        profile: impl SiteProfile,
        clocks: Arc<Clocks>,
        timeouts: Timeouts,
        from: Option<IpAddr>,
    ) -> Self {
        Self {
            http: HttpClient::new(from),
            profile: Arc::new(profile),
            sessions: Sessions::default(),
            clocks,
            timeouts,
        }
    }

    /// Sends one frame to a node and reads what comes back.
    ///
    /// # Errors
    /// [`ExchangeError`]; the frame may or may not have been acted upon, except where no connection was
    /// made.
    pub(crate) async fn ask(
        &self,
        entry: &Node,
        header: Header,
        payload: &[u8],
    ) -> Result<Reply, ExchangeError> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len().next_power_of_two());
        if !frame::append(&mut frame, header, payload) {
            return Err(ExchangeError::TooLarge);
        }
        for _ in 0..SESSION_TRIES {
            let session = self.session(entry).await?;
            let Ok((exchange, body)) = session.seal(&frame) else {
                self.sessions.forget(&session);
                continue;
            };
            let read = async {
                let response = self.post(entry, body, self.timeouts.answer).await?;
                self.read(&session, exchange, response, header.stream).await
            };
            match read.await {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.sessions.forget(&session),
                Err(ExchangeError::Timeout) => {
                    // The next handshake shows whether it is the entry that is silent.
                    self.sessions.forget(&session);
                    return Err(ExchangeError::NoAnswer);
                }
                Err(error) => return Err(error),
            }
        }
        Err(ExchangeError::NotANode)
    }

    async fn session(&self, entry: &Node) -> Result<Arc<Session>, ExchangeError> {
        self.sessions
            .get_or_make(entry, |start| async move {
                let response = self.post(entry, start, self.timeouts.handshake).await?;
                let status = response.status();
                let body = http_client::whole(
                    response.into_body(),
                    MAX_ANSWER_BYTES,
                    self.timeouts.handshake,
                )
                .await?;
                if status == StatusCode::OK {
                    Ok(body)
                } else {
                    Err(ExchangeError::NotANode)
                }
            })
            .await
            .inspect(|session| {
                if let Some(time_ms) = session.take_node_time() {
                    self.clocks.note(entry.id, time_ms);
                }
            })
    }

    async fn post(
        &self,
        entry: &Node,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<http::Response<Incoming>, ExchangeError> {
        let endpoint = entry.endpoint.as_ref().map_err(|error| *error)?;
        let request = self
            .profile
            .request(endpoint, Bytes::from(body), &mut rand::thread_rng())?;
        Ok(self.http.send(request, timeout).await?)
    }

    /// Reads a response; `None` where it was not sealed under this session.
    async fn read(
        &self,
        session: &Arc<Session>,
        exchange: ExchangeId,
        response: http::Response<Incoming>,
        stream_wanted: bool,
    ) -> Result<Option<Reply>, ExchangeError> {
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Ok(None);
        }
        if stream_wanted && self.profile.is_stream(&head) {
            return Ok(Some(Reply::Stream(Stream::new(
                body,
                Arc::clone(session),
                exchange,
                self.timeouts.silence,
            ))));
        }
        let mut body = http_client::whole(body, MAX_ANSWER_BYTES, self.timeouts.answer).await?;
        match session.open(exchange, 0, &mut body) {
            Ok(frame) => Ok(Some(Reply::Answer(read_answer(frame)?.0))),
            Err(_) => Ok(None),
        }
    }
}

/// Reads the answer in a frame, and whether it is the last of its request.
fn read_answer(bytes: &[u8]) -> Result<(Answer, bool), ExchangeError> {
    let (header, payload) = frame::split(bytes).map_err(|_| ExchangeError::Malformed(None))?;
    if !matches!(header.kind, Kind::Answer | Kind::Item) {
        return Err(ExchangeError::Malformed(None));
    }
    let answer = Answer::decode(payload).map_err(|error| ExchangeError::Malformed(Some(error)))?;
    Ok((answer, header.kind == Kind::Answer || header.last))
}
