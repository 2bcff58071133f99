//! The ceiling of command times on disk: what makes command nonces survive a crash
//! (`protocol::freshness`).

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::freshness::Freshness;

use crate::clock::now_ms;
use crate::forward::Router;

/// How often the ceiling is looked at; it is written minutes ahead.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The ceiling that an earlier run left; 0 where there is none.
pub(crate) fn read(path: &Path) -> io::Result<u64> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds no number; delete it only if the clock has passed every command",
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Writes a ceiling durably, whole or not at all.
pub(crate) fn write(path: &Path, ceiling_ms: u64) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{ceiling_ms}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Raises the ceiling if it is due: on disk first, then in memory.
pub(crate) fn raise(path: &Path, freshness: &mut Freshness) -> io::Result<()> {
    if let Some(due) = freshness.ceiling_due(now_ms()) {
        write(path, due)?;
        freshness.raise_ceiling(due);
    }
    Ok(())
}

/// Keeps the ceiling ahead of time until the node stops.
pub(crate) async fn keep(path: PathBuf, router: Arc<Router>) {
    let shutdown = router.shutdown().clone();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let due = router.freshness().lock().ceiling_due(now_ms());
        let Some(due) = due else { continue };
        let path = path.clone();
        match tokio::task::spawn_blocking(move || write(&path, due)).await {
            Ok(Ok(())) => router.freshness().lock().raise_ceiling(due),
            Ok(Err(error)) => {
                tracing::error!(target: "node", %error, "command times can't be kept; commands will be refused soon")
            }
            Err(_) => return,
        }
    }
}
