//! Reading one stretch of blocks: its logs, checked and decoded.

use alloy::{
    primitives::Address,
    rpc::types::{Filter, Log},
};
use wallet::WalletAddress;

use super::{PassError, Syncer, now_s};
use crate::{
    event::{self, Positioned, Registries},
    index::{Advance, BlockId, KEPT_BLOCKS},
    rpc::{BlockRef, Endpoint, RpcFailure},
};

/// Most logs taken from one answer; a range with more is asked for in parts.
const MAX_LOGS: usize = 50_000;
/// An answer with fewer logs than this lets the next range be wider.
const FEW_LOGS: usize = 2_000;
/// Blocks of a stretch within the newest 256: each stretch's end can be rolled back to.
const RECENT_STRETCH: u64 = 32;

impl Syncer {
    /// Reads the blocks from `from` on, as many as the server and the bounds allow, up to `target`.
    pub(super) async fn read_stretch(
        &self,
        endpoint: &Endpoint,
        previous: Option<BlockId>,
        from: u64,
        target: u64,
        head: u64,
    ) -> Result<Advance, PassError> {
        // Ends: the range shrinks each time round and one block is the least.
        loop {
            let to = last_block(from, target, head, endpoint.log_range());
            let tip = existing(endpoint, to).await?;
            self.check_linked(endpoint, previous, from, &tip).await?;
            let first = match previous {
                Some(_) => None,
                None => Some(existing(endpoint, from).await?),
            };
            let logs = match endpoint.logs(&self.filter(from, to)).await {
                Ok(logs) if logs.len() > MAX_LOGS => Err(RpcFailure::TooLong),
                other => other,
            };
            let logs = match logs {
                Ok(logs) => logs,
                Err(RpcFailure::TimedOut) => {
                    endpoint.shrink_log_range();
                    return Err(RpcFailure::TimedOut.into());
                }
                Err(failure) if is_about_size(&failure) && to > from => {
                    endpoint.shrink_log_range();
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            // If the last block stayed the same, so did everything below it, meanwhile.
            if existing(endpoint, to).await? != tip {
                return Err(PassError::Moved);
            }
            if logs.len() < FEW_LOGS {
                endpoint.grow_log_range();
            }
            let registries = self.registries;
            let events =
                tokio::task::spawn_blocking(move || decode_logs(&registries, logs, from, &tip));
            return Ok(Advance {
                tip: id(&tip),
                first: first.as_ref().map(id),
                head,
                at_s: now_s(),
                events: events
                    .await
                    .map_err(|_| crate::index::IndexError::Interrupted)??,
            });
        }
    }

    /// Checks that the stretch that ends in `tip` follows our last block.
    async fn check_linked(
        &self,
        endpoint: &Endpoint,
        previous: Option<BlockId>,
        from: u64,
        tip: &BlockRef,
    ) -> Result<(), PassError> {
        let Some(previous) = previous else {
            return Ok(());
        };
        let parent = if tip.number == from {
            tip.parent_hash
        } else {
            existing(endpoint, previous.number).await?.hash
        };
        if parent == previous.hash {
            Ok(())
        } else {
            Err(PassError::Moved)
        }
    }

    fn filter(&self, from: u64, to: u64) -> Filter {
        let contract = |address: WalletAddress| Address::from(*address.as_bytes());
        Filter::new()
            .address(self.registries.emitters().map(contract).collect::<Vec<_>>())
            .event_signature(event::topics())
            .from_block(from)
            .to_block(to)
    }
}

/// The last block of the stretch that begins with `from`.
fn last_block(from: u64, target: u64, head: u64, log_range: u64) -> u64 {
    let widest = match head.checked_sub(KEPT_BLOCKS) {
        Some(undo_floor) if from <= undo_floor => undo_floor,
        _ => from.saturating_add(RECENT_STRETCH - 1),
    };
    from.saturating_add(log_range - 1).min(widest).min(target)
}

async fn existing(endpoint: &Endpoint, number: u64) -> Result<BlockRef, RpcFailure> {
    (endpoint.block(number).await?).ok_or(RpcFailure::Malformed {
        what: "no block at a height below its head",
    })
}

fn id(block: &BlockRef) -> BlockId {
    BlockId {
        number: block.number,
        hash: block.hash,
    }
}

/// Tells whether a server may have refused a range of logs for its size. Servers say so in their own
/// words, so every refusal counts that isn't about how often they are asked.
fn is_about_size(failure: &RpcFailure) -> bool {
    match failure {
        RpcFailure::TooLong | RpcFailure::Http { status: 400 | 413 } => true,
        RpcFailure::Refused { code, message, .. } => {
            let message = message.to_lowercase();
            *code != 429
                && !["rate limit", "too many requests", "request limit"]
                    .iter()
                    .any(|words| message.contains(words))
        }
        _ => false,
    }
}

/// Checks that the logs are of this stretch and of one chain, and decodes them in order.
fn decode_logs(
    registries: &Registries,
    mut logs: Vec<Log>,
    from: u64,
    tip: &BlockRef,
) -> Result<Vec<Positioned>, RpcFailure> {
    let malformed = |what| RpcFailure::Malformed { what };
    let position = |log: &Log| log.block_number.zip(log.log_index);
    logs.sort_by_key(position);
    let mut before: Option<&Log> = None;
    let mut events = Vec::new();
    for log in &logs {
        let (block, log_index) =
            position(log).ok_or(malformed("a log without a place in the chain"))?;
        let hash = log.block_hash.ok_or(malformed("a log without a block"))?;
        if log.removed || !(from..=tip.number).contains(&block) {
            return Err(malformed("a log outside of the range asked for"));
        }
        if block == tip.number && hash.0 != tip.hash {
            return Err(malformed("a log of another chain"));
        }
        if let Some(before) = before.filter(|before| before.block_number == Some(block)) {
            if before.log_index == Some(log_index) {
                return Err(malformed("a log twice"));
            }
            if before.block_hash != Some(hash) {
                return Err(malformed("logs of two chains"));
            }
        }
        before = Some(log);
        let emitter = WalletAddress::from_bytes(log.address().into());
        let decoded = event::decode(registries, emitter, &log.inner.data)
            .map_err(|_| malformed("a log that the contracts never write"))?;
        events.extend(decoded.into_iter().map(|event| Positioned {
            block,
            log_index,
            event,
        }));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretch_far_below_the_head_is_wide_and_ends_where_undo_begins() {
        assert_eq!(last_block(0, 100_000, 100_000, 2_000), 1_999);
        assert_eq!(last_block(99_000, 100_000, 100_000, 2_000), 99_744);
    }

    #[test]
    fn stretch_near_the_head_is_short() {
        assert_eq!(last_block(99_745, 100_000, 100_000, 2_000), 99_776);
        assert_eq!(last_block(99_745, 100_000, 100_000, 4), 99_748);
        assert_eq!(last_block(99_999, 100_000, 100_000, 2_000), 100_000);
        assert_eq!(last_block(0, 0, 0, 2_000), 0);
        assert_eq!(last_block(0, 100, 100, 2_000), 31);
    }

    #[test]
    fn refusal_about_frequency_is_not_about_size() {
        let refused = |code, message: &str| RpcFailure::Refused {
            code,
            message: message.into(),
            revert_data: Vec::new(),
        };
        assert!(is_about_size(&refused(
            -32_005,
            "query returned more than 10000 results"
        )));
        assert!(is_about_size(&refused(-32_602, "block range is too wide")));
        assert!(!is_about_size(&refused(
            -32_005,
            "Too Many Requests, slow down"
        )));
        assert!(!is_about_size(&RpcFailure::Http { status: 503 }));
    }
}
