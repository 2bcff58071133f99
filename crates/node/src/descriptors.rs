//! How many files and sockets the node's process may have open at once.
//!
//! Systems start a process with room for a thousand, of which clients would leave none to links and to the store. Most
//! allow far more to whoever asks.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::MAX_CONNECTIONS;

/// Asks for as many descriptors as the system allows, and says how many connections may be open at once: a quarter is
/// kept for links, files and the ledger.
pub(crate) fn connections() -> usize {
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return MAX_CONNECTIONS;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, most, most) {
        Ok(()) => most,
        Err(_) => now,
    };
    let connections = share(limit);
    if connections < MAX_CONNECTIONS {
        tracing::warn!(target: "node", limit, connections, "the limit of open files leaves room for few connections");
    }
    connections
}

fn share(limit: u64) -> usize {
    let share = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX);
    share.clamp(1, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with a limit of 1,024 open files took 1,024 connections, and could then neither dial a link nor open a file
    /// of its store.
    #[test]
    fn connections_leave_descriptors_for_links_and_files() {
        assert_eq!(share(1_024), 768);
        assert_eq!(share(20_000), 15_000);
        assert_eq!(share(u64::MAX), MAX_CONNECTIONS);
        assert_eq!(share(0), 1);
    }

    #[test]
    fn node_asks_for_all_that_the_system_allows() {
        assert!(connections() > 0);
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(now, most);
    }
}
