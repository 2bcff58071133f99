//! Filters: a client's place in the chain, kept for it between polls.
//!
//! A filter remembers only the next block to report, not what is in it, so that one that
//! nobody polls costs nothing. Blocks that are dropped after they were reported are the
//! exception: their logs are set aside, to be reported once more as removed.

use super::{
    Engine, QueryError,
    queries::{MAX_LOG_BLOCKS, MAX_LOGS, logs_of},
};
use crate::store::MinedBlock;
use alloy_primitives::{B256, map::HashMap};
use alloy_rpc_types_eth::{Filter, Log};
use std::time::{Duration, Instant};

/// Filters at a time, of all clients.
const MAX_FILTERS: usize = 256;
/// A filter that is not polled for so long is dropped, as in geth.
const LIFETIME: Duration = Duration::from_secs(300);
/// Block hashes that one poll returns; the rest come with the next one.
const MAX_BLOCKS_PER_POLL: u64 = 1_024;

/// What a client knows a filter by; random, so that others can't guess it.
pub(crate) type FilterId = u64;

/// Why a filter could not be made or polled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("filter not found")]
    NotFound,
    #[error("too many filters: {MAX_FILTERS} are in use")]
    TooMany,
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// What is new since the last poll.
#[derive(Debug)]
pub(crate) enum FilterChanges {
    Blocks(Vec<B256>),
    Logs(Vec<Log>),
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    entries: HashMap<FilterId, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// The first block that has not been reported.
    next: u64,
    polled: Instant,
}

#[derive(Debug)]
enum Kind {
    Blocks,
    Logs {
        filter: Box<Filter>,
        removed: Vec<Log>,
    },
}

impl Filters {
    fn add(&mut self, kind: Kind, next: u64) -> Result<FilterId, FilterError> {
        self.entries
            .retain(|_, entry| entry.polled.elapsed() < LIFETIME);
        if self.entries.len() >= MAX_FILTERS {
            return Err(FilterError::TooMany);
        }
        let id = rand::random();
        self.entries.insert(
            id,
            Entry {
                kind,
                next,
                polled: Instant::now(),
            },
        );
        Ok(id)
    }

    /// Sends every filter back to `fork`, the last block that stands.
    pub(super) fn rewind(&mut self, fork: u64, dropped: &[MinedBlock]) {
        for entry in self.entries.values_mut() {
            let reported = entry.next;
            entry.next = entry.next.min(fork.saturating_add(1));
            if let Kind::Logs { filter, removed } = &mut entry.kind {
                let gone = dropped
                    .iter()
                    .filter(|block| block.header.number < reported)
                    .flat_map(|block| logs_of(block, filter));
                removed.extend(gone.map(|log| Log {
                    removed: true,
                    ..log
                }));
                removed.truncate(MAX_LOGS);
            }
        }
    }
}

impl Engine {
    /// Makes a filter that reports the blocks from now on.
    pub(crate) fn new_block_filter(&self) -> Result<FilterId, FilterError> {
        let next = self.head.read().header().number.saturating_add(1);
        self.filters.lock().add(Kind::Blocks, next)
    }

    /// Makes a filter that reports the matching logs from now on.
    pub(crate) fn new_log_filter(&self, filter: Filter) -> Result<FilterId, FilterError> {
        let next = self.head.read().header().number.saturating_add(1);
        let next = filter.get_from_block().map_or(next, |from| from.max(next));
        let kind = Kind::Logs {
            filter: Box::new(filter),
            removed: Vec::new(),
        };
        self.filters.lock().add(kind, next)
    }

    /// Drops a filter; tells whether there was one.
    pub(crate) fn drop_filter(&self, id: FilterId) -> bool {
        self.filters.lock().entries.remove(&id).is_some()
    }

    /// Reports what is new since the last poll.
    pub(crate) fn poll_filter(&self, id: FilterId) -> Result<FilterChanges, FilterError> {
        // Locked first, so that no reorganisation comes between head and filter.
        let mut filters = self.filters.lock();
        let newest = self.head.read().header().number;
        let entry = filters.entries.get_mut(&id).ok_or(FilterError::NotFound)?;
        entry.polled = Instant::now();
        match &mut entry.kind {
            Kind::Blocks => {
                let last = newest.min(entry.next.saturating_add(MAX_BLOCKS_PER_POLL - 1));
                if entry.next > last {
                    return Ok(FilterChanges::Blocks(Vec::new()));
                }
                let headers = self
                    .store
                    .headers(entry.next..=last)
                    .map_err(QueryError::from)?;
                entry.next = last.saturating_add(1);
                Ok(FilterChanges::Blocks(
                    headers.iter().map(|header| header.hash()).collect(),
                ))
            }
            Kind::Logs { filter, removed } => {
                let last = filter
                    .get_to_block()
                    .unwrap_or(u64::MAX)
                    .min(newest)
                    .min(entry.next.saturating_add(MAX_LOG_BLOCKS - 1));
                if entry.next > last {
                    return Ok(FilterChanges::Logs(std::mem::take(removed)));
                }
                let (logs, reached) = self.logs_within(filter, entry.next..=last)?;
                entry.next = reached.saturating_add(1);
                let mut changes = std::mem::take(removed);
                changes.extend(logs);
                Ok(FilterChanges::Logs(changes))
            }
        }
    }

    /// Searches all logs that a log filter describes, reported or not.
    pub(crate) fn filter_logs(&self, id: FilterId) -> Result<Vec<Log>, FilterError> {
        let filter = {
            let mut filters = self.filters.lock();
            let entry = filters.entries.get_mut(&id).ok_or(FilterError::NotFound)?;
            entry.polled = Instant::now();
            match &entry.kind {
                Kind::Logs { filter, .. } => filter.clone(),
                Kind::Blocks => return Err(FilterError::NotFound),
            }
        };
        Ok(self.logs(&filter)?)
    }
}
