//! Stamps, minted beside the runtime's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::frame::STAMP_BYTES;
use protocol::stamp::{MintError, Stamp};

/// Why there is no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampingError {
    /// More is asked than the sender allows.
    #[error(
        "a stamp of effort {asked} is asked for, more than the {allowed} that you allow: try later or raise the limit"
    )]
    TooDear {
        /// What the node asks.
        asked: u32,
        /// What the sender allows.
        allowed: u32,
    },
    /// The stamp was not found.
    #[error("the stamp can't be made")]
    Mint(#[source] MintError),
}

/// Says whether a stamp of this effort may be paid.
pub(super) fn check(asked: u32, allowed: u32) -> Result<(), StampingError> {
    if asked > allowed {
        Err(StampingError::TooDear { asked, allowed })
    } else {
        Ok(())
    }
}

/// Mints a stamp on a thread of its own; dropping the future stops it.
pub(super) async fn mint(
    packet_hash: [u8; 32],
    effort: u32,
    now_ms: u64,
) -> Result<[u8; STAMP_BYTES], StampingError> {
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop.0);
    let first_nonce = rand::random();
    let minting = tokio::task::spawn_blocking(move || {
        Stamp::mint(&packet_hash, effort, now_ms, first_nonce, || {
            !stopped.load(Ordering::Relaxed)
        })
    });
    match minting.await {
        Ok(Ok(stamp)) => Ok(stamp.to_bytes()),
        Ok(Err(error)) => Err(StampingError::Mint(error)),
        Err(_) => Err(StampingError::Mint(MintError::Stopped)),
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
