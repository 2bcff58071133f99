//! What the status page counts: connections and bytes, never where to.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use protocol::NodeId;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outbound::{Connected, Duplex};

/// Bridges that are counted each for itself; what goes through others shows in the total only.
pub const MAX_COUNTED_BRIDGES: usize = 1024;

/// What went through the gateway since it was started.
#[derive(Debug, Default)]
pub struct Counters {
    total: Tally,
    direct: Arc<Tally>,
    services: Arc<Tally>,
    failed: AtomicU64,
    turned_away: AtomicU64,
    bridges: Mutex<BTreeMap<NodeId, Arc<Tally>>>,
}

#[derive(Debug, Default)]
struct Tally {
    open: AtomicU64,
    opened: AtomicU64,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
}

/// What [`Counters`] show at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// All connections and associations.
    pub total: Flow,
    /// Those that a bypass rule let go directly.
    pub direct: Flow,
    /// Those to services of the network itself.
    pub services: Flow,
    /// Those that could not be opened.
    pub failed: u64,
    /// Clients that found every place taken.
    pub turned_away: u64,
    /// Those of each bridge, by its address.
    pub bridges: BTreeMap<String, Flow>,
}

/// Connections and bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Flow {
    /// Open now.
    pub open: u64,
    /// Opened since the start.
    pub opened: u64,
    /// Bytes from clients.
    pub up_bytes: u64,
    /// Bytes to clients.
    pub down_bytes: u64,
}

/// The place of one open connection in the counters; it is given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    counters: Arc<Counters>,
    part: Option<Arc<Tally>>,
}

/// A connection whose bytes are counted as they pass.
pub(crate) struct Metered {
    inner: Box<dyn Duplex>,
    share: Share,
}

impl Counters {
    /// Reads all of them. Each is right; together they may be some packets apart.
    #[must_use]
    pub fn read(&self) -> Counted {
        let bridges = self.bridges.lock();
        Counted {
            total: self.total.read(),
            direct: self.direct.read(),
            services: self.services.read(),
            failed: self.failed.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            bridges: bridges
                .iter()
                .map(|(id, tally)| (id.to_string(), tally.read()))
                .collect(),
        }
    }

    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn open(self: &Arc<Self>, bridge: Option<NodeId>) -> Share {
        self.open_as(bridge, false)
    }

    fn open_as(self: &Arc<Self>, bridge: Option<NodeId>, is_to_service: bool) -> Share {
        let part = match bridge {
            None if is_to_service => Some(Arc::clone(&self.services)),
            None => Some(Arc::clone(&self.direct)),
            Some(id) => {
                let mut bridges = self.bridges.lock();
                match bridges.len() < MAX_COUNTED_BRIDGES || bridges.contains_key(&id) {
                    true => Some(Arc::clone(bridges.entry(id).or_default())),
                    false => None,
                }
            }
        };
        let share = Share {
            counters: Arc::clone(self),
            part,
        };
        share.each(|tally| {
            tally.open.fetch_add(1, Ordering::Relaxed);
            tally.opened.fetch_add(1, Ordering::Relaxed);
        });
        share
    }
}

impl Tally {
    fn read(&self) -> Flow {
        Flow {
            open: self.open.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            up_bytes: self.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.down_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Share {
    fn each(&self, count: impl Fn(&Tally)) {
        count(&self.counters.total);
        if let Some(part) = &self.part {
            count(part);
        }
    }

    pub(crate) fn up(&self, bytes: usize) {
        self.each(|tally| {
            tally.up_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        });
    }

    pub(crate) fn down(&self, bytes: usize) {
        self.each(|tally| {
            tally.down_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        });
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.each(|tally| {
            tally.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Metered {
    /// `first` is what went along with the request to connect.
    pub(crate) fn new(connected: Connected, counters: &Arc<Counters>, first: usize) -> Self {
        let share = counters.open_as(connected.bridge, connected.is_to_service);
        share.up(first);
        Self {
            inner: connected.stream,
            share,
        }
    }
}

impl Duplex for Metered {
    fn reset(&mut self) {
        self.inner.reset();
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.share.down(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.share.up(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.share.up(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_for_their_bridge_and_the_total_until_they_are_dropped() {
        let counters = Arc::new(Counters::default());
        let id = NodeId::from_bytes([7; 20]);
        let (through, direct) = (counters.open(Some(id)), counters.open(None));
        through.up(3);
        direct.down(5);
        drop(direct);
        let read = counters.read();
        assert_eq!((read.total.open, read.total.opened), (1, 2));
        assert_eq!((read.total.up_bytes, read.total.down_bytes), (3, 5));
        assert_eq!((read.direct.open, read.direct.down_bytes), (0, 5));
        let bridge = read.bridges[&id.to_string()];
        assert_eq!((bridge.open, bridge.up_bytes, bridge.down_bytes), (1, 3, 0));
    }

    #[test]
    fn bridges_beyond_the_bound_count_in_the_total_only() {
        let counters = Arc::new(Counters::default());
        for number in 0..MAX_COUNTED_BRIDGES + 10 {
            let mut id = [0; 20];
            id[..8].copy_from_slice(&number.to_be_bytes());
            drop(counters.open(Some(NodeId::from_bytes(id))));
        }
        let read = counters.read();
        assert_eq!(read.bridges.len(), MAX_COUNTED_BRIDGES);
        assert_eq!(read.total.opened as usize, MAX_COUNTED_BRIDGES + 10);
    }
}
