//! Streams to nodes: opened over a path as any exchange takes, resumed over another when that breaks.
//!
//! All streams through one entry share one connection to it (`links::EntryLinks`). What a stream is asked
//! for travels in the layers that a command would travel in; entry and relay then splice what follows, blind.

mod dialler;
mod entry_link;
mod links;
mod upgrade;

pub(crate) use dialler::{Dialler, Verdict};
pub(crate) use links::EntryLinks;
pub use protocol::stream::{Purpose, Reset};
pub use streams::{Stream, read_datagram, write_datagram};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::NodeId;
use protocol::answer::Refusal;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::carry::{Load, Way};
use crate::network::Network;
use crate::path::PathError;

/// Paths tried before a stream is given up.
const MAX_TRIES: usize = 6;
/// How long the far end may take to say that it has done what was asked: more than a bridge gives a web site.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Who may know what of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamPrivacy {
    /// Entry, relay, far end: no node knows both the client's address and the far end.
    #[default]
    Relayed,
    /// The entry passes it on to the far end, or is that itself.
    Direct,
    /// The far end is the entry: it alone carries the stream, and knows the client's address and what it is asked for.
    OneHop,
}

impl StreamPrivacy {
    pub(crate) fn way(self) -> Way {
        match self {
            Self::Relayed => Way::Relayed,
            Self::Direct | Self::OneHop => Way::Direct,
        }
    }
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There are too few nodes.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The far end, or somebody behind it, would not.
    #[error("{0}")]
    Reset(Reset),
    /// A node on the way, or the far end, refused.
    #[error("the stream was refused: {0}")]
    Refused(Box<Refusal>),
    /// No path to the far end worked.
    #[error("no path to the far end worked")]
    Lost,
    /// The far end took too long.
    #[error("the far end did not answer in time")]
    TimedOut,
}

impl Network {
    /// Opens a stream to a node. `first` goes with the command, so that the answer to it comes a round trip earlier.
    ///
    /// # Errors
    /// [`OpenError`], after several paths where that could help.
    ///
    /// # Cancel safety
    /// Dropping the future gives the stream up.
    pub async fn open_stream(
        &self,
        to: NodeId,
        purpose: Purpose,
        privacy: StreamPrivacy,
        first: Bytes,
    ) -> Result<Stream, OpenError> {
        let target = self.known(&to).await?;
        let dialler = match privacy {
            StreamPrivacy::OneHop => Dialler::one_hop(self.clone(), target),
            _ => Dialler::new(self.clone(), target, privacy.way()),
        };
        let dialler = Arc::new(dialler);
        let mut last = OpenError::Lost;
        for _ in 0..MAX_TRIES {
            let opening = streams::open(purpose.clone(), streams::best_cipher());
            let circuit = match dialler.dial(Load::Stream(opening.command())).await {
                Ok(circuit) => circuit,
                Err(OpenError::Path(error)) => return Err(error.into()),
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let again = Arc::clone(&dialler);
            let mut stream = opening.over(circuit, Some(again));
            if !first.is_empty() && stream.write_all(&first).await.is_err() {
                continue;
            }
            match timeout(OPEN_TIMEOUT, stream.opened()).await {
                Ok(Ok(())) => {
                    dialler.worked();
                    return Ok(stream);
                }
                Ok(Err(Reset::Lost | Reset::Unknown)) => {}
                Ok(Err(reset)) => return Err(OpenError::Reset(reset)),
                Err(_) => return Err(OpenError::TimedOut),
            }
            let verdict = dialler.verdict();
            let is_final = verdict.is_final();
            last = match verdict {
                Verdict::Said(refusal) | Verdict::Again(Some(refusal)) => {
                    OpenError::Refused(refusal.into())
                }
                Verdict::Again(None) => OpenError::Lost,
            };
            if is_final {
                return Err(last);
            }
        }
        Err(last)
    }
}
