//! Accounts: which wallets keep a mailbox here, under which key IDs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mailbox::{Directory, DirectoryError};
use minicbor::{Decoder, Encoder};
use parking_lot::RwLock;
use protocol::answer::Record;
use protocol::command::Subject;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wallet::{Certificate, Fingerprint, KeyId, WalletAddress};

use crate::metrics::Metrics;

/// Accounts at most.
const MAX_ACCOUNTS: usize = 1_000_000;
/// Wallets that may hold one key ID: an honest collision is a wonder, more is an attack.
const MAX_HOLDERS: usize = 4;
/// Key IDs remembered for one account: the current ones and superseded ones until their mail is gone.
const MAX_KEYS: usize = 32;
const FORMAT: u32 = 1;
const PAGE: usize = 1_000;

/// One key ID of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    id: KeyId,
    claimed_ms: u64,
    superseded_ms: Option<u64>,
}

/// A wallet's account.
#[derive(Debug)]
pub(crate) struct Account {
    record: Record,
    certificate: Certificate,
    keys: Vec<Key>,
}

impl Account {
    pub(crate) fn wallet(&self) -> WalletAddress {
        self.record.binding.wallet
    }

    pub(crate) fn record(&self) -> Record {
        self.record.clone()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Says whether a current key ID was proven before.
    pub(crate) fn holds(&self, key: &KeyId) -> bool {
        self.keys
            .iter()
            .any(|k| k.id == *key && k.superseded_ms.is_none())
    }

    fn encode(&self) -> Bytes {
        let mut e = Encoder::new(Vec::with_capacity(4096));
        let written = (|| {
            e.array(4)?
                .u32(FORMAT)?
                .bytes(&self.record.certificate)?
                .encode(&self.record.binding)?;
            e.array(self.keys.len() as u64)?;
            for key in &self.keys {
                e.array(3)?
                    .bytes(key.id.as_bytes())?
                    .u64(key.claimed_ms)?
                    .u64(key.superseded_ms.unwrap_or(0))?;
            }
            Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
        })();
        debug_assert!(written.is_ok());
        e.into_writer().into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        if d.array().ok()?? != 4 || d.u32().ok()? != FORMAT {
            return None;
        }
        let certificate_bytes = Bytes::copy_from_slice(d.bytes().ok()?);
        let binding = d.decode().ok()?;
        let mut keys = Vec::new();
        for _ in 0..d.array().ok()??.min(MAX_KEYS as u64) {
            d.array().ok()?;
            let id = KeyId::from_bytes(d.bytes().ok()?.try_into().ok()?);
            let (claimed_ms, superseded) = (d.u64().ok()?, d.u64().ok()?);
            keys.push(Key {
                id,
                claimed_ms,
                superseded_ms: (superseded > 0).then_some(superseded),
            });
        }
        let certificate = Certificate::parse(&certificate_bytes).ok()?;
        Some(Self {
            record: Record {
                certificate: certificate_bytes,
                binding,
            },
            certificate,
            keys,
        })
    }
}

/// Who holds a key ID.
pub(crate) struct Holder {
    pub(crate) account: Arc<Account>,
    pub(crate) superseded_ms: Option<u64>,
}

#[derive(Default)]
struct Maps {
    by_key: HashMap<KeyId, Vec<WalletAddress>>,
    by_wallet: HashMap<WalletAddress, Arc<Account>>,
    by_fingerprint: HashMap<Fingerprint, WalletAddress>,
}

/// All accounts of this node: on disk, and in memory for every look-up.
pub(crate) struct Accounts {
    maps: RwLock<Maps>,
    /// One change at a time: disk first, then memory.
    writing: tokio::sync::Mutex<()>,
    directory: Arc<dyn Directory>,
    metrics: Arc<Metrics>,
}

/// Why an account was not opened.
#[derive(Debug, Error)]
pub(crate) enum OpenAccountError {
    #[error("the wallet has announced a later certificate")]
    Outdated,
    #[error("too many wallets claim one of the key IDs")]
    Contested,
    #[error("the node keeps as many accounts as it can")]
    Full,
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl Accounts {
    pub(crate) async fn load(
        directory: Arc<dyn Directory>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DirectoryError> {
        let maps = Self::read(&*directory).await?;
        metrics.accounts.set(maps.by_wallet.len() as i64);
        Ok(Self {
            maps: RwLock::new(maps),
            writing: tokio::sync::Mutex::default(),
            directory,
            metrics,
        })
    }

    /// Reads all accounts.
    async fn read(directory: &dyn Directory) -> Result<Maps, DirectoryError> {
        let mut maps = Maps::default();
        let mut after = None;
        loop {
            let page = directory.page(after.take(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, value) in page {
                match Account::decode(&value) {
                    Some(account) => maps.insert(Arc::new(account)),
                    None => {
                        tracing::error!(target: "node::mailbox", "an account record can't be read and is left alone")
                    }
                }
            }
        }
        Ok(maps)
    }

    /// Takes over what other processes change, until `stop`; `None` for a key means that any may have changed.
    pub(crate) async fn follow(
        &self,
        mut changes: mpsc::Receiver<Option<Bytes>>,
        stop: CancellationToken,
    ) {
        loop {
            let key = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                key = changes.recv() => key,
            };
            let Some(key) = key else { return };
            if let Err(error) = self.take_over(key).await {
                tracing::warn!(target: "node::mailbox", %error, "accounts that another process changed can't be read");
            }
        }
    }

    async fn take_over(&self, key: Option<Bytes>) -> Result<(), DirectoryError> {
        // Not beside a change of our own, so that what is read is never older than memory.
        let _one = self.writing.lock().await;
        let Some(key) = key else {
            let maps = Self::read(&*self.directory).await?;
            *self.maps.write() = maps;
            return Ok(());
        };
        let value = self.directory.get(key.clone()).await?;
        let account = value.and_then(|value| Account::decode(&value));
        let mut maps = self.maps.write();
        if let Ok(wallet) = <[u8; 20]>::try_from(key.as_ref()) {
            maps.remove(&WalletAddress::from(wallet));
        }
        if let Some(account) = account {
            maps.insert(Arc::new(account));
        }
        self.metrics.accounts.set(maps.by_wallet.len() as i64);
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.maps.read().by_wallet.len()
    }

    /// Says whether a mailbox for a key ID is kept here.
    pub(crate) fn keeps(&self, key: &KeyId) -> bool {
        self.maps.read().by_key.contains_key(key)
    }

    /// Who holds a key ID, oldest claim first.
    pub(crate) fn holders(&self, key: &KeyId) -> Vec<Holder> {
        let maps = self.maps.read();
        let Some(wallets) = maps.by_key.get(key) else {
            return Vec::new();
        };
        let mut holders: Vec<(u64, Holder)> = wallets
            .iter()
            .filter_map(|wallet| {
                let account = maps.by_wallet.get(wallet)?;
                let held = account.keys.iter().find(|k| k.id == *key)?;
                let holder = Holder {
                    account: Arc::clone(account),
                    superseded_ms: held.superseded_ms,
                };
                Some((held.claimed_ms, holder))
            })
            .collect();
        holders.sort_by_key(|(claimed, _)| *claimed);
        holders.into_iter().map(|(_, holder)| holder).collect()
    }

    pub(crate) fn find(&self, subject: &Subject) -> Option<Arc<Account>> {
        match subject {
            Subject::Wallet(wallet) => self.maps.read().by_wallet.get(wallet).cloned(),
            Subject::Key(key) => self.holders(key).into_iter().next().map(|h| h.account),
        }
    }

    pub(crate) fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<Arc<Account>> {
        let maps = self.maps.read();
        maps.by_wallet
            .get(maps.by_fingerprint.get(fingerprint)?)
            .cloned()
    }

    pub(crate) fn by_wallet(&self, wallet: &WalletAddress) -> Option<Arc<Account>> {
        self.maps.read().by_wallet.get(wallet).cloned()
    }

    /// Opens or renews an account; the caller has verified the binding and every key ID.
    pub(crate) async fn open(
        &self,
        certificate: Certificate,
        record: Record,
        now_ms: u64,
    ) -> Result<(), OpenAccountError> {
        let _one = self.writing.lock().await;
        let wallet = record.binding.wallet;
        let before = self.by_wallet(&wallet);
        if before
            .as_ref()
            .is_some_and(|b| b.record.binding.sequence > record.binding.sequence)
        {
            return Err(OpenAccountError::Outdated);
        }
        let current = certificate.key_ids();
        let mut keys: Vec<Key> = current
            .iter()
            .map(|id| {
                let known = before
                    .as_ref()
                    .and_then(|b| b.keys.iter().find(|k| k.id == *id));
                Key {
                    id: *id,
                    claimed_ms: known.map_or(now_ms, |k| k.claimed_ms),
                    superseded_ms: None,
                }
            })
            .collect();
        if let Some(before) = &before {
            let old = before.keys.iter().filter(|k| !current.contains(&k.id));
            keys.extend(old.map(|k| Key {
                superseded_ms: k.superseded_ms.or(Some(now_ms)),
                ..*k
            }));
        }
        keys.truncate(MAX_KEYS);
        {
            let maps = self.maps.read();
            if before.is_none() && maps.by_wallet.len() >= MAX_ACCOUNTS {
                return Err(OpenAccountError::Full);
            }
            let contested = |id: &KeyId| {
                maps.by_key
                    .get(id)
                    .is_some_and(|w| w.len() >= MAX_HOLDERS && !w.contains(&wallet))
            };
            if current.iter().any(contested) {
                return Err(OpenAccountError::Contested);
            }
        }
        let account = Arc::new(Account {
            record,
            certificate,
            keys,
        });
        self.directory
            .put(Bytes::copy_from_slice(wallet.as_bytes()), account.encode())
            .await?;
        let mut maps = self.maps.write();
        maps.remove(&wallet);
        maps.insert(account);
        self.metrics.accounts.set(maps.by_wallet.len() as i64);
        Ok(())
    }

    /// Forgets an account.
    pub(crate) async fn remove(&self, wallet: &WalletAddress) -> Result<(), DirectoryError> {
        let _one = self.writing.lock().await;
        self.directory
            .remove(Bytes::copy_from_slice(wallet.as_bytes()))
            .await?;
        let mut maps = self.maps.write();
        maps.remove(wallet);
        self.metrics.accounts.set(maps.by_wallet.len() as i64);
        Ok(())
    }

    /// Forgets key IDs that were superseded before `cutoff_ms`: nothing sealed to them is left.
    pub(crate) async fn forget_superseded(&self, cutoff_ms: u64) {
        let _one = self.writing.lock().await;
        let is_old = |k: &Key| k.superseded_ms.is_some_and(|since| since < cutoff_ms);
        let stale: Vec<Arc<Account>> = self
            .maps
            .read()
            .by_wallet
            .values()
            .filter(|a| a.keys.iter().any(is_old))
            .cloned()
            .collect();
        for account in stale {
            let mut keys = account.keys.clone();
            keys.retain(|k| !is_old(k));
            let Ok(certificate) = Certificate::parse(&account.record.certificate) else {
                continue;
            };
            let renewed = Arc::new(Account {
                record: account.record(),
                certificate,
                keys,
            });
            let wallet = account.wallet();
            if self
                .directory
                .put(Bytes::copy_from_slice(wallet.as_bytes()), renewed.encode())
                .await
                .is_ok()
            {
                let mut maps = self.maps.write();
                maps.remove(&wallet);
                maps.insert(renewed);
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.directory.close().await;
    }
}

impl Maps {
    fn insert(&mut self, account: Arc<Account>) {
        let wallet = account.wallet();
        for key in &account.keys {
            self.by_key.entry(key.id).or_default().push(wallet);
        }
        self.by_fingerprint
            .insert(account.certificate.fingerprint(), wallet);
        self.by_wallet.insert(wallet, account);
    }

    fn remove(&mut self, wallet: &WalletAddress) {
        let Some(account) = self.by_wallet.remove(wallet) else {
            return;
        };
        for key in &account.keys {
            if let Some(holders) = self.by_key.get_mut(&key.id) {
                holders.retain(|h| h != wallet);
                if holders.is_empty() {
                    self.by_key.remove(&key.id);
                }
            }
        }
        let fingerprint = account.certificate.fingerprint();
        if self.by_fingerprint.get(&fingerprint) == Some(wallet) {
            self.by_fingerprint.remove(&fingerprint);
        }
    }
}
