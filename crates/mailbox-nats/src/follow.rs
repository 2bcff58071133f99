//! Follows the stream's headers into the view, for as long as the store is open.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::TARGET;
use crate::config::OpenError;
use crate::message::parse;
use crate::store::Shared;

/// Messages applied before those who wait for them are woken.
const CHUNK: usize = 256;

/// How long to wait before following anew; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Whether a process has seen all that the stream held when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last sequence applied.
    pub(crate) applied: u64,
    pub(crate) caught_up: bool,
}

/// Starts following, and returns once everything was applied that stands in the stream now.
pub(crate) async fn start(shared: &Arc<Shared>) -> Result<(), OpenError> {
    let failed = OpenError::jetstream("follow the stream");
    let messages = follow_from(shared, 1).await.map_err(&failed)?;
    let task = Arc::clone(shared);
    tokio::spawn(async move { run(task, messages).await });
    let mut progress = shared.progress.subscribe();
    let caught_up = progress.wait_for(|progress| progress.caught_up).await;
    caught_up.map_err(|error| failed(error.into()))?;
    Ok(())
}

type Messages = pull::Ordered;

async fn follow_from(shared: &Shared, start_sequence: u64) -> Result<Messages, async_nats::Error> {
    let consumer = shared
        .stream
        .create_consumer(pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            headers_only: true,
            ..Default::default()
        })
        .await?;
    if consumer.cached_info().num_pending == 0 {
        shared
            .progress
            .send_modify(|progress| progress.caught_up = true);
    }
    Ok(consumer.messages().await?)
}

async fn run(shared: Arc<Shared>, mut messages: Messages) {
    let mut closed = shared.closing.subscribe();
    let mut pause = PAUSE;
    loop {
        {
            let mut chunks = (&mut messages).ready_chunks(CHUNK);
            loop {
                let chunk = tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return,
                    chunk = chunks.next() => chunk,
                };
                match chunk.map(|chunk| apply(&shared, chunk)) {
                    Some(Ok(())) => pause = PAUSE,
                    Some(Err(error)) => {
                        tracing::warn!(target: TARGET, %error, "the stream of packets is followed anew");
                        break;
                    }
                    None => break,
                }
            }
        }
        messages = loop {
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (2 * pause).min(PAUSE_MAX);
            let next = shared.progress.borrow().applied + 1;
            match follow_from(&shared, next).await {
                Ok(messages) => break messages,
                Err(error) => {
                    tracing::warn!(target: TARGET, %error, "the stream of packets can't be followed; trying again");
                }
            }
        };
    }
}

fn apply<E: Into<async_nats::Error>>(
    shared: &Shared,
    chunk: Vec<Result<Message, E>>,
) -> Result<(), async_nats::Error> {
    let mut progress = *shared.progress.borrow();
    let mut outcome = Ok(());
    {
        let mut view = shared.view.lock();
        for message in chunk {
            let (message, sequence, pending) =
                match message.map_err(Into::into).and_then(|message| {
                    let info = message.info()?;
                    let (sequence, pending) = (info.stream_sequence, info.pending);
                    Ok((message, sequence, pending))
                }) {
                    Ok(found) => found,
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                };
            match parse(&shared.prefix, &message.subject, message.headers.as_ref()) {
                Some(event) => view.apply(sequence, event),
                None => {
                    tracing::warn!(target: TARGET, sequence, "a message of the stream is none of a mailbox's and is left out");
                }
            }
            progress.applied = progress.applied.max(sequence);
            progress.caught_up |= pending == 0;
        }
    }
    shared.progress.send_replace(progress);
    outcome
}

/// Waits until the view has a sequence, or everything behind it, for a bounded time; tells whether it has.
pub(crate) async fn wait_for(
    progress: &watch::Sender<Progress>,
    sequence: u64,
    most: Duration,
) -> bool {
    let mut progress = progress.subscribe();
    let reached = progress.wait_for(|progress| progress.applied >= sequence);
    tokio::time::timeout(most, reached)
        .await
        .is_ok_and(|reached| reached.is_ok())
}
