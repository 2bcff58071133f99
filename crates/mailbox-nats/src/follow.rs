//! Follows the stream's headers into the view, for as long as the store is open.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::TARGET;
use crate::config::OpenError;
use crate::message::{mark_subject, parse};
use crate::store::Shared;

/// Messages applied before those who wait for them are woken.
const CHUNK: usize = 256;

/// How long to wait before following anew; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often the server shows that it is alive; after twice that the stream is followed anew.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long one request for messages stands, and how many messages it asks for at most.
const REQUEST_STANDS: Duration = Duration::from_secs(30);
const REQUEST_MESSAGES: usize = 2048;

/// How long the server keeps the place of a process that is gone.
const PLACE_KEPT: Duration = Duration::from_secs(60);

/// Messages of one consumer, none left out.
struct Messages {
    stream: pull::Stream,
    /// How many the consumer has delivered.
    delivered: u64,
}

/// Starts following, and returns once everything was applied that stands in the stream now.
pub(crate) async fn start(shared: &Arc<Shared>) -> Result<(), OpenError> {
    let failed = OpenError::jetstream("follow the stream");
    let messages = follow_from(shared, 1).await.map_err(&failed)?;
    // A server that lags doesn't know how much it lacks; once this mark is met, it lacks nothing.
    let subject = mark_subject(&shared.prefix);
    let marked = shared.publish(&subject, HeaderMap::new(), Bytes::new());
    let mark = marked.await.map_err(|error| failed(error.into()))?;
    let task = Arc::clone(shared);
    tokio::spawn(async move { run(task, messages).await });
    let mut progress = shared.progress.subscribe();
    let caught_up = progress.wait_for(|applied| *applied >= mark).await;
    caught_up.map_err(|error| failed(error.into()))?;
    Ok(())
}

async fn follow_from(shared: &Shared, start_sequence: u64) -> Result<Messages, async_nats::Error> {
    let consumer = shared
        .stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: PLACE_KEPT,
            ..Default::default()
        })
        .await?;
    let stream = consumer
        .stream()
        .heartbeat(HEARTBEAT)
        .expires(REQUEST_STANDS)
        .max_messages_per_batch(REQUEST_MESSAGES)
        .messages()
        .await?;
    Ok(Messages {
        stream,
        delivered: 0,
    })
}

async fn run(shared: Arc<Shared>, mut messages: Messages) {
    let mut closed = shared.closing.subscribe();
    let mut pause = PAUSE;
    loop {
        {
            let mut chunks = (&mut messages.stream).ready_chunks(CHUNK);
            loop {
                let chunk = tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return,
                    chunk = chunks.next() => chunk,
                };
                let Some(chunk) = chunk else { break };
                if let Err(error) = apply(&shared, chunk, &mut messages.delivered) {
                    tracing::warn!(target: TARGET, %error, "the stream of packets is followed anew");
                    break;
                }
                pause = PAUSE;
            }
        }
        messages = loop {
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (2 * pause).min(PAUSE_MAX);
            let next = *shared.progress.borrow() + 1;
            match follow_from(&shared, next).await {
                Ok(messages) => break messages,
                Err(error) => {
                    tracing::warn!(target: TARGET, %error, "the stream of packets can't be followed; trying again");
                }
            }
        };
    }
}

/// Applies messages until one is missing.
fn apply<E: Into<async_nats::Error>>(
    shared: &Shared,
    chunk: Vec<Result<Message, E>>,
    delivered: &mut u64,
) -> Result<(), async_nats::Error> {
    let mut applied = *shared.progress.borrow();
    let mut view = shared.view.lock();
    let outcome = chunk.into_iter().try_for_each(|message| {
        let message = message.map_err(Into::into)?;
        let info = message.info()?;
        if info.consumer_sequence != *delivered + 1 {
            return Err("a message is missing".into());
        }
        *delivered += 1;
        let sequence = info.stream_sequence;
        match parse(&shared.prefix, &message.subject, message.headers.as_ref()) {
            Some(event) => view.apply(sequence, event),
            None => {
                tracing::warn!(target: TARGET, sequence, "a message of the stream is none of a mailbox's and is left out");
            }
        }
        applied = applied.max(sequence);
        Ok(())
    });
    drop(view);
    shared.progress.send_replace(applied);
    outcome
}

/// Waits until the view has a sequence, or everything behind it, for a bounded time; tells whether it has.
pub(crate) async fn wait_for(progress: &watch::Sender<u64>, sequence: u64, most: Duration) -> bool {
    let mut progress = progress.subscribe();
    let reached = progress.wait_for(|applied| *applied >= sequence);
    tokio::time::timeout(most, reached)
        .await
        .is_ok_and(|reached| reached.is_ok())
}
