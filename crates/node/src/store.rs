//! Where packets and accounts are kept: files of this process, or servers that several processes of
//! one key share.

use std::sync::Arc;

use ::mailbox::{BoxFuture, Directory, LogConfig, LogStore, PacketStore};
use bytes::Bytes;
use protocol::NodeId;
use tokio::sync::mpsc;

use crate::NodeError;
use crate::config::{MailboxStore, NodeConfig};

/// A store about to be used.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn PacketStore>,
    pub(crate) directory: Arc<dyn Directory>,
    /// Keys of account records that other processes may have changed; `None` within: all of them.
    pub(crate) changes: Option<mpsc::Receiver<Option<Bytes>>>,
    pub(crate) claims: Option<Arc<dyn Claims>>,
}

/// What commands the processes of one key have obeyed, so that none is obeyed twice.
pub(crate) trait Claims: Send + Sync + 'static {
    /// Claims a command's nonce; `false` if some process has done so before.
    fn claim(&self, nonce: [u8; 16]) -> BoxFuture<'_, std::io::Result<bool>>;
}

/// Opens the store that the settings name.
pub(crate) async fn open(config: &NodeConfig, me: NodeId) -> Result<Opened, NodeError> {
    match &config.mailbox.store {
        MailboxStore::Files => {
            let limits = LogConfig {
                queue_quota_bytes: config.mailbox.quota_bytes,
                ttl_ms: config.mailbox.ttl_ms,
                ..LogConfig::default()
            };
            let store = LogStore::open(config.data_dir.join("mailbox"), limits)?;
            Ok(Opened {
                directory: store.directory(),
                store: Arc::new(store),
                changes: None,
                claims: None,
            })
        }
        #[cfg(feature = "nats")]
        MailboxStore::Nats { servers, replicas } => {
            let limits = mailbox_nats::NatsConfig {
                replicas: *replicas,
                queue_quota_bytes: config.mailbox.quota_bytes,
                ttl_ms: config.mailbox.ttl_ms,
                ..mailbox_nats::NatsConfig::new(servers, hex::encode(me.as_bytes()))
            };
            nats::open(limits).await
        }
        #[cfg(not(feature = "nats"))]
        MailboxStore::Nats { .. } => {
            let _name = me;
            Err(NodeError::NoNats)
        }
    }
}

#[cfg(feature = "nats")]
mod nats {
    use mailbox_nats::{NatsClaims, NatsConfig, NatsDirectory, NatsStore};
    use tokio::sync::broadcast::error::RecvError;

    use super::{Arc, BoxFuture, Bytes, Claims, NodeError, Opened, mpsc};

    /// Changes of accounts that wait to be read.
    const CHANGES_WAITING: usize = 1024;

    pub(super) async fn open(limits: NatsConfig) -> Result<Opened, NodeError> {
        let claims = NatsClaims::open(&limits).await?;
        let store = NatsStore::open(limits).await?;
        let directory = store.directory();
        Ok(Opened {
            changes: Some(changed_keys(&directory)),
            directory,
            store: Arc::new(store),
            claims: Some(Arc::new(claims)),
        })
    }

    fn changed_keys(directory: &NatsDirectory) -> mpsc::Receiver<Option<Bytes>> {
        let mut changes = directory.changes();
        let (to, keys) = mpsc::channel(CHANGES_WAITING);
        tokio::spawn(async move {
            loop {
                let key = match changes.recv().await {
                    Ok(change) => Some(change.key),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                if to.send(key).await.is_err() {
                    return;
                }
            }
        });
        keys
    }

    impl Claims for NatsClaims {
        fn claim(&self, nonce: [u8; 16]) -> BoxFuture<'_, std::io::Result<bool>> {
            Box::pin(self.claim(nonce))
        }
    }
}
