//! Hears what comes for a conversation.

use std::path::PathBuf;
use std::time::Duration;

use client::Client;
use client::history::HistoryEntry;
use client::home::Recipient;
use client::receive::{Event, ListenError, ListenOptions, Listener};

use super::HISTORY_LINES;
use crate::failure::Outcome;
use crate::names::Names;

/// How often the history is read where another process listens.
const READ_EVERY: Duration = Duration::from_millis(700);

/// What is heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// By listening.
    Event(Box<Event>),
    /// By reading the history again.
    History(Vec<HistoryEntry>),
}

/// Where it comes from.
pub(super) enum Hearing {
    /// This process listens.
    Listening(Box<Listener>, Names),
    /// Another process of this home listens and writes what comes into the history.
    Reading(Box<(Client, Recipient)>),
}

impl Hearing {
    pub(super) async fn begin(
        client: &Client,
        with: &Recipient,
        save: Option<PathBuf>,
        names: Names,
    ) -> Outcome<Self> {
        let mut options = ListenOptions::default();
        options.save_dir = save;
        match client.listen(options).await {
            Ok(listener) => Ok(Self::Listening(Box::new(listener), names)),
            Err(ListenError::AlreadyListening) => {
                Ok(Self::Reading(Box::new((client.clone(), with.clone()))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Outcome<Heard> {
        match self {
            Self::Listening(listener, names) => match listener.next().await? {
                Some(mut event) => {
                    names.complete(&mut event);
                    Ok(Heard::Event(Box::new(event)))
                }
                None => std::future::pending().await,
            },
            Self::Reading(reading) => {
                tokio::time::sleep(READ_EVERY).await;
                let (client, with) = &**reading;
                Ok(Heard::History(
                    client.history(Some(with), HISTORY_LINES).await?,
                ))
            }
        }
    }

    /// Says that what was heard last was shown.
    pub(super) async fn done(&mut self) -> Outcome<()> {
        match self {
            Self::Listening(listener, _) => Ok(listener.done().await?),
            Self::Reading(_) => Ok(()),
        }
    }

    /// Whether another process is the one that listens.
    pub(super) const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Reading(_))
    }
}
