//! Account records in a bucket of keys and values, which every process watches.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use mailbox::{
    ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, AccountPage, BoxFuture, Directory, DirectoryError,
};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::TARGET;
use crate::config::{NatsConfig, OpenError};

/// Records that one page fetches at once.
const FETCHES: usize = 32;

/// Changes that a listener may be late by before it has to read all records anew.
const CHANGES_KEPT: usize = 4096;

/// How long to wait before watching anew.
const PAUSE: Duration = Duration::from_secs(1);

/// A change of an account record, made by whichever process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChange {
    /// The record's key.
    pub key: Bytes,
    /// What it says now; `None` once it is removed.
    pub value: Option<Bytes>,
}

/// Account records on NATS.
pub struct NatsDirectory {
    bucket: Store,
    _client: async_nats::Client,
    max_accounts: usize,
    keys: Arc<Mutex<BTreeSet<Bytes>>>,
    changes: broadcast::Sender<AccountChange>,
    closed: watch::Sender<bool>,
}

fn failed(error: impl Into<async_nats::Error>) -> DirectoryError {
    DirectoryError::Io(Arc::new(std::io::Error::other(error)))
}

impl NatsDirectory {
    pub(crate) async fn open(
        config: &NatsConfig,
        context: &jetstream::Context,
        client: async_nats::Client,
    ) -> Result<Self, OpenError> {
        let wanted = kv::Config {
            bucket: config.bucket_name(),
            history: 1,
            storage: StorageType::File,
            num_replicas: config.replicas,
            ..Default::default()
        };
        let bucket = match context.get_key_value(config.bucket_name()).await {
            Ok(bucket) => bucket,
            Err(_) => context
                .create_key_value(wanted)
                .await
                .map_err(OpenError::jetstream("make the bucket of accounts"))?,
        };
        // Before the list, so that no change falls between the two.
        let watching = bucket.watch_all().await;
        let watching = watching.map_err(OpenError::jetstream("watch the accounts"))?;
        let mut found = bucket
            .keys()
            .await
            .map_err(OpenError::jetstream("list the accounts"))?;
        let mut keys = BTreeSet::new();
        while let Some(key) = found.next().await {
            let key = key.map_err(OpenError::jetstream("list the accounts"))?;
            keys.extend(hex::decode(key).map(Bytes::from));
        }
        let directory = Self {
            bucket,
            _client: client,
            max_accounts: config.max_accounts,
            keys: Arc::new(Mutex::new(keys)),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            closed: watch::Sender::new(false),
        };
        directory.follow(watching);
        Ok(directory)
    }

    /// Changes of records from now on, those made here included.
    ///
    /// Whoever is later than 4,096 changes is told so, and should read all records anew.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<AccountChange> {
        self.changes.subscribe()
    }

    fn follow(&self, mut watching: kv::Watch) {
        let (bucket, keys, changes) = (
            self.bucket.clone(),
            Arc::clone(&self.keys),
            self.changes.clone(),
        );
        let mut closed = self.closed.subscribe();
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return,
                    next = watching.next() => next,
                };
                let Some(Ok(entry)) = next else {
                    tracing::warn!(target: TARGET, "the accounts are watched anew");
                    tokio::time::sleep(PAUSE).await;
                    // With history, so that nothing that changed meanwhile is missed.
                    if let Ok(anew) = bucket.watch_with_history(">").await {
                        watching = anew;
                    }
                    continue;
                };
                let Ok(key) = hex::decode(&entry.key).map(Bytes::from) else {
                    continue;
                };
                let value = match entry.operation {
                    Operation::Put => {
                        keys.lock().insert(key.clone());
                        Some(entry.value)
                    }
                    Operation::Delete | Operation::Purge => {
                        keys.lock().remove(&key);
                        None
                    }
                };
                // Nobody may listen.
                drop(changes.send(AccountChange { key, value }));
            }
        });
    }

    fn check(&self, key: &Bytes) -> Result<String, DirectoryError> {
        if *self.closed.borrow() {
            return Err(DirectoryError::Closed);
        }
        if key.is_empty() || key.len() > ACCOUNT_KEY_MAX {
            return Err(DirectoryError::KeyLength {
                bytes: key.len(),
                limit: ACCOUNT_KEY_MAX,
            });
        }
        Ok(hex::encode(key))
    }

    async fn put(&self, key: Bytes, value: Bytes) -> Result<(), DirectoryError> {
        let name = self.check(&key)?;
        if value.len() > ACCOUNT_VALUE_MAX {
            return Err(DirectoryError::ValueTooLarge {
                bytes: value.len(),
                limit: ACCOUNT_VALUE_MAX,
            });
        }
        {
            let keys = self.keys.lock();
            if keys.len() >= self.max_accounts && !keys.contains(&key) {
                return Err(DirectoryError::Full {
                    limit: self.max_accounts,
                });
            }
        }
        self.bucket.put(name, value).await.map_err(failed)?;
        self.keys.lock().insert(key);
        Ok(())
    }

    async fn remove(&self, key: Bytes) -> Result<bool, DirectoryError> {
        let name = self.check(&key)?;
        if self.bucket.get(&name).await.map_err(failed)?.is_none() {
            return Ok(false);
        }
        self.bucket.purge(&name).await.map_err(failed)?;
        self.keys.lock().remove(&key);
        Ok(true)
    }

    async fn page(
        &self,
        after: Option<Bytes>,
        max_items: usize,
    ) -> Result<AccountPage, DirectoryError> {
        if *self.closed.borrow() {
            return Err(DirectoryError::Closed);
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted: Vec<Bytes> = {
            let keys = self.keys.lock();
            keys.range((from, Bound::Unbounded))
                .take(max_items)
                .cloned()
                .collect()
        };
        let fetches = wanted.into_iter().map(|key| async move {
            let value = self.bucket.get(hex::encode(&key)).await.map_err(failed)?;
            Ok::<_, DirectoryError>(value.map(|value| (key, value)))
        });
        let fetched: Vec<Option<(Bytes, Bytes)>> = futures_util::stream::iter(fetches)
            .buffered(FETCHES)
            .try_collect()
            .await?;
        Ok(fetched.into_iter().flatten().collect())
    }
}

impl Drop for NatsDirectory {
    fn drop(&mut self) {
        self.closed.send_replace(true);
    }
}

impl Directory for NatsDirectory {
    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, Result<(), DirectoryError>> {
        Box::pin(self.put(key, value))
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, DirectoryError>> {
        Box::pin(async move {
            let name = self.check(&key)?;
            self.bucket.get(name).await.map_err(failed)
        })
    }

    fn remove(&self, key: Bytes) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(self.remove(key))
    }

    fn page(
        &self,
        after: Option<Bytes>,
        max_items: usize,
    ) -> BoxFuture<'_, Result<AccountPage, DirectoryError>> {
        Box::pin(self.page(after, max_items))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.send_replace(true);
        })
    }
}
