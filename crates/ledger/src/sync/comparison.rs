//! Is our last block still part of a server's chain, and if not, which of our blocks is?

use super::{PassError, Syncer};
use crate::{
    index::{BlockId, Cursor},
    rpc::{Endpoint, RpcFailure},
};

/// Our chain against a server's.
pub(super) enum Comparison {
    /// Our last block is part of it.
    Same,
    /// It has not come as far as we have, and where it is we agree or can't tell.
    Lagging,
    /// Our last block is not part of it.
    Diverged {
        /// The newest checkpoint that is and that we can roll back to.
        common: Option<BlockId>,
        /// Its head is behind our last block.
        behind: bool,
    },
}

impl Syncer {
    pub(super) async fn compare(
        &self,
        endpoint: &Endpoint,
        cursor: &Cursor,
        tip: BlockId,
        head: u64,
    ) -> Result<Comparison, PassError> {
        let behind = head < tip.number;
        if !behind && is_on_chain(endpoint, tip).await? {
            return Ok(Comparison::Same);
        }
        let mut checkpoints = self.blocking(|index| index.checkpoints()).await?;
        checkpoints.retain(|checkpoint| checkpoint.number <= head);
        if behind {
            let agrees = match checkpoints.first() {
                Some(newest) => is_on_chain(endpoint, *newest).await?,
                None => true,
            };
            if agrees {
                return Ok(Comparison::Lagging);
            }
        }
        checkpoints.retain(|checkpoint| checkpoint.number >= cursor.undo_floor);
        let common = newest_on_chain(endpoint, &checkpoints).await?;
        Ok(Comparison::Diverged { common, behind })
    }
}

/// The newest of `checkpoints`, given newest first, that is part of the server's chain: those below
/// one that is are too, so halving finds it in a few questions.
async fn newest_on_chain(
    endpoint: &Endpoint,
    checkpoints: &[BlockId],
) -> Result<Option<BlockId>, RpcFailure> {
    let (mut low, mut high) = (0, checkpoints.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match checkpoints.get(middle) {
            Some(checkpoint) if !is_on_chain(endpoint, *checkpoint).await? => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(checkpoints.get(low).copied())
}

async fn is_on_chain(endpoint: &Endpoint, block: BlockId) -> Result<bool, RpcFailure> {
    let found = endpoint.block(block.number).await?;
    match found {
        Some(found) => Ok(found.hash == block.hash),
        None => Err(RpcFailure::Malformed {
            what: "no block at a height below its head",
        }),
    }
}
