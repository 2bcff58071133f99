//! Items of a stream on their way through a node: little of a stream is held that nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use protocol::answer::{Answer, ItemSealer};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};

use super::dial::Asked;

/// Items up to this are made ahead, one at a time; larger ones only once their reader asks for one.
const EAGER_BYTES: usize = 16 * 1_024;

/// Encoded items of a stream, one by one. Whoever sends them gets to know when this is dropped.
#[derive(Debug)]
pub(crate) struct Items {
    from: mpsc::Receiver<Bytes>,
    /// Where they are made here: who makes them.
    demand: Option<Arc<Demand>>,
    /// Where they come over a link: who is granted as much again as was taken.
    asked: Option<Asked>,
    /// What seals them on their way, in this order.
    sealers: Vec<ItemSealer>,
}

/// Takes the items of a stream that is made here.
#[derive(Debug, Clone)]
pub(crate) struct ItemsTo {
    to: mpsc::Sender<Bytes>,
    demand: Arc<Demand>,
}

/// A place for one item.
pub(crate) struct Place<'t> {
    permit: mpsc::Permit<'t, Bytes>,
    demand: &'t Demand,
}

/// The stream has no reader any more.
#[derive(Debug)]
pub(crate) struct Unread;

/// Whether the reader of a stream waits for an item. One waits for it, one raises it.
#[derive(Debug, Default)]
struct Demand {
    is_there: AtomicBool,
    raised: Notify,
}

/// A stream that is made here.
pub(crate) fn items() -> (ItemsTo, Items) {
    let (to, from) = mpsc::channel(1);
    let demand = Arc::<Demand>::default();
    let mut items = Items::from(from);
    items.demand = Some(Arc::clone(&demand));
    (ItemsTo { to, demand }, items)
}

impl From<mpsc::Receiver<Bytes>> for Items {
    fn from(from: mpsc::Receiver<Bytes>) -> Self {
        Self {
            from,
            demand: None,
            asked: None,
            sealers: Vec::new(),
        }
    }
}

impl Items {
    /// The same, whose far sender is granted as much as is taken.
    pub(super) fn asked(mut self, asked: Asked) -> Self {
        self.asked = Some(asked);
        self
    }

    /// The same, each sealed once more.
    pub(crate) fn sealed(mut self, sealer: ItemSealer) -> Self {
        self.sealers.push(sealer);
        self
    }

    /// The next item; `None` at the end of the stream.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn recv(&mut self) -> Option<Bytes> {
        let mut item = match self.from.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {
                if let Some(demand) = &self.demand {
                    demand.raise();
                }
                self.from.recv().await?
            }
        };
        if let Some(asked) = &self.asked {
            asked.grant(&item);
        }
        for sealer in &mut self.sealers {
            item = Answer::Sealed(sealer.seal(&item).into()).encode().into();
        }
        Some(item)
    }
}

impl ItemsTo {
    /// Waits until nobody reads the stream any more.
    pub(crate) async fn closed(&self) {
        self.to.closed().await;
    }

    /// Waits for a place for an item of about that length.
    ///
    /// # Cancel safety
    /// Dropping the future, or the place, takes none.
    pub(crate) async fn place(&self, bytes: usize) -> Result<Place<'_>, Unread> {
        if bytes > EAGER_BYTES {
            tokio::select! {
                biased;
                () = self.to.closed() => return Err(Unread),
                () = self.demand.wait() => {}
            }
        }
        let permit = self.to.reserve().await.map_err(|_| Unread)?;
        let demand = &self.demand;
        Ok(Place { permit, demand })
    }
}

impl Place<'_> {
    pub(crate) fn send(self, item: Bytes) {
        self.demand.is_there.store(false, Ordering::Release);
        self.permit.send(item);
    }
}

impl Demand {
    fn raise(&self) {
        self.is_there.store(true, Ordering::Release);
        self.raised.notify_one();
    }

    async fn wait(&self) {
        while !self.is_there.load(Ordering::Acquire) {
            self.raised.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn has_place(to: &ItemsTo, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_secs(1), to.place(bytes))
            .await
            .is_ok()
    }

    /// Each of fifty thousand streams could hold a mebibyte for a reader that had stopped reading.
    #[tokio::test(start_paused = true)]
    async fn large_item_has_no_place_before_its_reader_asks_and_then_one() {
        let (to, mut items) = items();
        assert!(has_place(&to, EAGER_BYTES).await);
        assert!(!has_place(&to, EAGER_BYTES + 1).await);
        for n in 0..3 {
            let reading = async {
                let item = items.recv().await.unwrap();
                assert_eq!(item, [n; 100][..]);
            };
            let sending = async {
                // A place that was not used is there again.
                drop(to.place(1 << 20).await.unwrap());
                to.place(1 << 20).await.unwrap().send(vec![n; 100].into());
            };
            tokio::join!(reading, sending);
            assert!(!has_place(&to, 1 << 20).await, "it is made ahead");
        }
        drop(items);
        assert!(to.place(1 << 20).await.is_err());
        to.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn small_items_are_made_one_ahead() {
        let (to, mut items) = items();
        to.place(100).await.unwrap().send("a".into());
        assert!(!has_place(&to, 100).await);
        assert_eq!(items.recv().await.unwrap(), "a");
        to.place(100).await.unwrap().send("b".into());
        drop(to);
        assert_eq!(items.recv().await.unwrap(), "b");
        assert!(items.recv().await.is_none());
    }
}
