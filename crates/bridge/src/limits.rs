//! How much one client, and all together, may ask of a bridge.
//!
//! Pure but for the lock around the table: time is an argument. A client is an opaque number that the caller chooses; a
//! bridge knows no wallets. Since numbers are cheap, the limits for all together are what protects the bridge; those of a
//! client protect clients from each other.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use thiserror::Error;

/// A full table of clients is searched for such as can be forgotten once in this time at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What one client, or all of them, may have and ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Connections and associations at once, those that are being made included.
    pub connections: u32,
    /// Connections that are being made at once.
    pub pending: u32,
    /// New connections a second in the long run.
    pub per_second: u32,
    /// New connections at once after a time of rest; at least 1.
    pub burst: u32,
}

/// The limits of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For each client.
    pub client: Quota,
    /// For all together.
    pub total: Quota,
    /// Clients that are remembered at most, about 64 bytes each.
    pub clients: usize,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Busy {
    /// The client has as many connections as it may.
    #[error("you have too many connections; close some")]
    ClientConnections,
    /// The client has as many connections in the making as it may.
    #[error("too many of your connections are being made; wait for them")]
    ClientPending,
    /// The client asks too fast.
    #[error("you ask for connections too fast; wait")]
    ClientRate,
    /// All together have as many connections as they may.
    #[error("the bridge has as many connections as it takes; try another")]
    TotalConnections,
    /// All together have as many connections in the making as they may.
    #[error("the bridge is making as many connections as it takes; try another")]
    TotalPending,
    /// All together ask too fast.
    #[error("the bridge makes connections as fast as it may; try another")]
    TotalRate,
    /// The bridge has as many clients as it remembers.
    #[error("the bridge has too many clients; try another")]
    Clients,
    /// The association has as many names to resolve as it may.
    #[error("too many names of this association are being resolved; wait")]
    LookUps,
}

/// The limits, and who has how much.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

/// A connection that is being made.
#[derive(Debug)]
pub struct Pending(Permit);

/// A connection that counts until this is dropped.
pub struct Permit {
    shared: Arc<Shared>,
    client: u64,
    is_pending: bool,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    total: Usage,
    clients: HashMap<u64, Usage>,
    swept: Option<Instant>,
}

/// What one has, and when its bucket of tokens will be full again.
#[derive(Debug, Clone, Copy)]
struct Usage {
    connections: u32,
    pending: u32,
    full_at: Instant,
}

/// Which of a quota's limits is reached.
enum Reached {
    Connections,
    Pending,
    Rate,
}

impl Default for Limits {
    /// Room for a busy browser's thousand connections per client, and for what a process with 64 Ki descriptors holds.
    fn default() -> Self {
        Self {
            client: Quota {
                connections: 2048,
                pending: 256,
                per_second: 256,
                burst: 1024,
            },
            total: Quota {
                connections: 16_384,
                pending: 2048,
                per_second: 4096,
                burst: 8192,
            },
            clients: 65_536,
        }
    }
}

impl Busy {
    /// Whether the client itself has or asks too much, rather than all together.
    #[must_use]
    pub fn is_of_client(&self) -> bool {
        matches!(
            self,
            Self::ClientConnections | Self::ClientPending | Self::ClientRate | Self::LookUps
        )
    }
}

impl Gate {
    /// Makes a gate, at a time.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        let table = Table {
            total: Usage::new(now),
            clients: HashMap::new(),
            swept: None,
        };
        let shared = Shared {
            limits,
            table: Mutex::new(table),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Lets a client begin a connection.
    ///
    /// # Errors
    /// The limit that is reached. What is refused costs nothing of the rate.
    pub fn admit(&self, client: u64, now: Instant) -> Result<Pending, Busy> {
        self.count(client, now, true)?;
        Ok(Pending(Permit {
            shared: Arc::clone(&self.shared),
            client,
            is_pending: true,
        }))
    }

    /// Takes what one more connection costs of a client's rate, without counting a connection: a datagram to somebody
    /// new.
    ///
    /// # Errors
    /// The rate that is reached.
    pub fn charge(&self, client: u64, now: Instant) -> Result<(), Busy> {
        self.count(client, now, false)
    }

    /// Clients that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.shared.table.lock().clients.len()
    }

    fn count(&self, client: u64, now: Instant, is_connection: bool) -> Result<(), Busy> {
        let limits = &self.shared.limits;
        let mut table = self.shared.table.lock();
        let mut total = table.total;
        total
            .take(&limits.total, now, is_connection)
            .map_err(Reached::of_all)?;
        table.make_room(client, limits.clients, now)?;
        let usage = table
            .clients
            .entry(client)
            .or_insert_with(|| Usage::new(now));
        usage
            .take(&limits.client, now, is_connection)
            .map_err(Reached::of_client)?;
        table.total = total;
        Ok(())
    }
}

impl Pending {
    /// The connection is there.
    #[must_use]
    pub fn open(mut self) -> Permit {
        self.0.end_pending();
        self.0
    }
}

impl Permit {
    fn end_pending(&mut self) {
        if core::mem::take(&mut self.is_pending) {
            self.give_back(|usage| usage.pending = usage.pending.saturating_sub(1));
        }
    }

    fn give_back(&self, give: impl Fn(&mut Usage)) {
        let mut table = self.shared.table.lock();
        give(&mut table.total);
        // A client with a connection is never forgotten.
        if let Some(usage) = table.clients.get_mut(&self.client) {
            give(usage);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end_pending();
        self.give_back(|usage| usage.connections = usage.connections.saturating_sub(1));
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Table {
    /// Makes room for a client that is not known. Who has nothing and has rested long enough is forgotten.
    fn make_room(&mut self, client: u64, most: usize, now: Instant) -> Result<(), Busy> {
        if self.clients.len() < most || self.clients.contains_key(&client) {
            return Ok(());
        }
        let is_due = |last: Instant| now.saturating_duration_since(last) >= SWEEP_INTERVAL;
        if !self.swept.is_none_or(is_due) {
            return Err(Busy::Clients);
        }
        self.swept = Some(now);
        self.clients
            .retain(|_, usage| usage.connections > 0 || usage.full_at > now);
        if self.clients.len() < most {
            Ok(())
        } else {
            Err(Busy::Clients)
        }
    }
}

impl Usage {
    fn new(now: Instant) -> Self {
        Self {
            connections: 0,
            pending: 0,
            full_at: now,
        }
    }

    /// Takes a token, and counts a connection if it is one. A bucket is the time at which it will be full: each token that
    /// is taken moves that on by one interval, and it may not lie further off than all tokens together.
    fn take(&mut self, quota: &Quota, now: Instant, is_connection: bool) -> Result<(), Reached> {
        if is_connection && self.connections >= quota.connections {
            return Err(Reached::Connections);
        }
        if is_connection && self.pending >= quota.pending {
            return Err(Reached::Pending);
        }
        let interval = Duration::from_secs(1)
            .checked_div(quota.per_second)
            .ok_or(Reached::Rate)?;
        let full_at = self.full_at.max(now) + interval;
        if full_at.duration_since(now) > interval.saturating_mul(quota.burst) {
            return Err(Reached::Rate);
        }
        self.full_at = full_at;
        if is_connection {
            self.connections += 1;
            self.pending += 1;
        }
        Ok(())
    }
}

impl Reached {
    fn of_client(self) -> Busy {
        match self {
            Self::Connections => Busy::ClientConnections,
            Self::Pending => Busy::ClientPending,
            Self::Rate => Busy::ClientRate,
        }
    }

    fn of_all(self) -> Busy {
        match self {
            Self::Connections => Busy::TotalConnections,
            Self::Pending => Busy::TotalPending,
            Self::Rate => Busy::TotalRate,
        }
    }
}

#[cfg(test)]
mod tests;
