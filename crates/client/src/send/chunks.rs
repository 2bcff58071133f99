//! Sends a file chunk by chunk, several at once, and remembers which are stored.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use packet::{ContentType, MessageId, TransferId};
use protocol::transfer::Plan;
use ring::digest::{Context, SHA256};
use tokio::task::JoinSet;

use super::attempt::Letter;
use super::{AttemptError, Outbox};
use crate::carrier::Resolved;
use crate::files;
use crate::state::{FileReference, OutboxItem, OutboxProgress, StateError};

/// Chunks under way at once: enough to hide the round trips and a mailbox's syncs, few enough for memory.
const AT_ONCE: usize = 8;

impl Outbox {
    /// Sends the chunks that are not stored yet. Which got through is durable on return, also if this fails; if it is
    /// dropped, the last few may be sent once more, which the mailbox notices.
    pub(super) async fn send_chunks(
        &self,
        id: MessageId,
        item: &OutboxItem,
        file: &FileReference,
        progress: &mut OutboxProgress,
        to: Resolved,
        hear: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), AttemptError> {
        let plan = files::plan(file).map_err(files::OutgoingError::from)?;
        let mut bits = Bits::restore(plan.count(), &progress.chunks);
        hear(bits.bytes(&plan), file.size);
        let mut missing = bits.missing().into_iter();
        let item = Arc::new(item.clone());
        let file = Arc::new(file.clone());
        let mut to = to;
        let mut running = JoinSet::new();
        let mut failure = None;
        let mut notes = Notes::default();
        loop {
            while failure.is_none() && running.len() < AT_ONCE {
                let Some(index) = missing.next() else { break };
                let one = self.clone().send_chunk(
                    id,
                    index,
                    Arc::clone(&item),
                    Arc::clone(&file),
                    to.clone(),
                );
                running.spawn(one);
            }
            notes.begin(self, id, progress);
            let done = tokio::select! {
                done = running.join_next() => done,
                noted = notes.ended() => {
                    noted?;
                    continue;
                }
            };
            let Some(done) = done else { break };
            match done {
                Ok(Ok((index, stored, newer))) => {
                    bits.set(index);
                    progress.chunks.clone_from(&bits.bytes);
                    progress.stored_at = stored;
                    if newer.binding.sequence > to.binding.sequence {
                        to = newer;
                    }
                    notes.due = true;
                    hear(bits.bytes(&plan), file.size);
                }
                // Others under way may still get through.
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => std::future::pending().await,
                },
            }
        }
        while notes.due || notes.under_way.is_some() {
            notes.begin(self, id, progress);
            notes.ended().await?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends one chunk; returns where it is stored and what is known of the recipient by then.
    async fn send_chunk(
        self,
        id: MessageId,
        index: u32,
        item: Arc<OutboxItem>,
        file: Arc<FileReference>,
        mut to: Resolved,
    ) -> Result<(u32, Vec<protocol::NodeId>, Resolved), AttemptError> {
        let reference = Arc::clone(&file);
        let transfer = TransferId::from_bytes(*id.as_bytes());
        let read = tokio::task::spawn_blocking(move || {
            files::read_chunk(&reference, transfer, index).map(|chunk| chunk.encode())
        });
        let body = match read.await {
            Ok(read) => read?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        };
        let letter = Letter {
            item: &item,
            id: chunk_id(&file.seed, index),
            content_type: ContentType::CHUNK,
            session: file.session(),
            sequence: index.into(),
            time_ms: file.time_ms,
            body: body.into(),
        };
        let mut progress = OutboxProgress::default();
        self.deliver(&letter, None, &mut to, &mut progress).await?;
        Ok((index, progress.stored_at, to))
    }
}

/// Notes which chunks are stored, beside the sending: one note under way, and all that came meanwhile in the next.
#[derive(Default)]
struct Notes {
    due: bool,
    under_way: Option<BoxFuture<'static, Result<(), StateError>>>,
}

impl Notes {
    /// Begins to write if there is something new and nothing is being written.
    fn begin(&mut self, outbox: &Outbox, id: MessageId, progress: &OutboxProgress) {
        if !self.due || self.under_way.is_some() {
            return;
        }
        self.due = false;
        let (state, durable) = (outbox.account.state().clone(), progress.clone());
        let noted = async move {
            state
                .run(move |state| state.save_progress(id, &durable))
                .await
        };
        self.under_way = Some(Box::pin(noted));
    }

    /// Waits until what is being written is durable; for ever where nothing is.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn ended(&mut self) -> Result<(), StateError> {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let noted = under_way.await;
        self.under_way = None;
        noted
    }
}

/// The message id of a chunk: the same whenever it is sent, and nobody else's guess.
fn chunk_id(seed: &[u8; 32], index: u32) -> MessageId {
    let mut hash = Context::new(&SHA256);
    hash.update(seed);
    hash.update(&index.to_be_bytes());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    MessageId::from_bytes(id)
}

/// Which chunks are stored.
struct Bits {
    count: u32,
    bytes: Vec<u8>,
}

impl Bits {
    fn restore(count: u32, bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        bytes.resize((count as usize).div_ceil(8), 0);
        Self { count, bytes }
    }

    fn set(&mut self, index: u32) {
        if let Some(byte) = self.bytes.get_mut(index as usize / 8) {
            *byte |= 1 << (index % 8);
        }
    }

    fn has(&self, index: u32) -> bool {
        let byte = self.bytes.get(index as usize / 8);
        byte.is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    fn missing(&self) -> Vec<u32> {
        (0..self.count).filter(|index| !self.has(*index)).collect()
    }

    /// How many bytes of the file are stored.
    fn bytes(&self, plan: &Plan) -> u64 {
        let stored = (0..self.count).filter(|index| self.has(*index));
        stored.map(|index| plan.place(index).1 as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_chunks_are_remembered_and_counted_in_bytes() {
        let plan = Plan::new(2_500, 1_000).unwrap();
        let mut bits = Bits::restore(plan.count(), &[]);
        bits.set(0);
        bits.set(2);
        assert_eq!(bits.missing(), [1]);
        assert_eq!(bits.bytes(&plan), 1_500);
        let again = Bits::restore(plan.count(), &bits.bytes);
        assert_eq!(again.missing(), [1]);
    }

    #[test]
    fn chunk_ids_differ_by_index_and_by_transfer_and_never_by_attempt() {
        assert_eq!(chunk_id(&[1; 32], 5), chunk_id(&[1; 32], 5));
        assert_ne!(chunk_id(&[1; 32], 5), chunk_id(&[1; 32], 6));
        assert_ne!(chunk_id(&[1; 32], 5), chunk_id(&[2; 32], 5));
    }
}
