//! The response to an exchange that asked for a stream.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use protocol::answer::Answer;
use protocol::session::ExchangeId;
use tokio::time::timeout;

use super::events::Events;
use super::sessions::Session;
use super::{ExchangeError, read_answer};

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection broke.
    #[error("the connection to the entry node broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for 90 seconds, not even a comment.
    #[error("the entry node fell silent")]
    Silent,
    /// An event is not what the node sealed at that place.
    #[error("the stream was altered, or lost or reordered an event")]
    Forged,
    /// The node sealed something that is no answer.
    #[error("the entry node's stream is malformed")]
    Malformed(#[source] ExchangeError),
}

/// Answers that arrive one by one.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    events: Events,
    session: Arc<Session>,
    exchange: ExchangeId,
    next_item: u64,
    /// When nothing came for so long, not even a comment, the stream is dead.
    silence: Duration,
    ended: bool,
}

impl Stream {
    pub(super) fn new(
        body: Incoming,
        session: Arc<Session>,
        exchange: ExchangeId,
        silence: Duration,
    ) -> Self {
        Self {
            body,
            events: Events::default(),
            session,
            exchange,
            next_item: 0,
            silence,
            ended: false,
        }
    }

    /// The next answer; `None` at the stream's end, orderly or not: that shows in what came before.
    ///
    /// # Errors
    /// [`StreamError`]; the stream can't be read on after it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>, StreamError> {
        while !self.ended {
            let event = self.events.next().map_err(|_| StreamError::Forged)?;
            if let Some(event) = event {
                return self.open(&event).map(Some);
            }
            match timeout(self.silence, self.body.frame()).await {
                Err(_) => return Err(StreamError::Silent),
                Ok(None) => self.ended = true,
                Ok(Some(Err(error))) => return Err(StreamError::Broken(error.into())),
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.events.push(data);
                    }
                }
            }
        }
        Ok(None)
    }

    fn open(&mut self, event: &[u8]) -> Result<Answer, StreamError> {
        let mut sealed = STANDARD.decode(event).map_err(|_| StreamError::Forged)?;
        let frame = self
            .session
            .open(self.exchange, self.next_item, &mut sealed)
            .map_err(|_| StreamError::Forged)?;
        self.next_item += 1;
        let (answer, last) = read_answer(frame).map_err(StreamError::Malformed)?;
        self.ended = last;
        Ok(answer)
    }
}
