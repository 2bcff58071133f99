//! Names, by the index of the ledger.
//!
//! **Invariant**: nobody is asked about a name. Each of these waits until the ledger has been read once since the network
//! was opened, ten seconds at most, since an answer from before could be of a name that is another's by now.

use std::time::Duration;

use ledger::{Name, NameRecord, ResolveError};
use wallet::WalletAddress;

use super::Network;
use crate::clock::unix_ms;

/// How long a change that is in a block may take to be seen.
const SEEING_PATIENCE: Duration = Duration::from_secs(20);

impl Network {
    /// The wallet that a name says.
    ///
    /// # Errors
    /// [`ResolveError`] says why it says none.
    pub async fn resolve(&self, name: &Name) -> Result<WalletAddress, ResolveError> {
        self.ledger_read().await;
        let index = self.directory().index();
        let index = index.ok_or(ResolveError::Unregistered)?;
        index.resolve(name, unix_ms() / 1_000)
    }

    /// What a wallet calls itself, if that name says the wallet.
    pub async fn name_of(&self, wallet: &WalletAddress) -> Option<Name> {
        self.ledger_read().await;
        self.directory().index()?.name_of(wallet, unix_ms() / 1_000)
    }

    /// The registration of a name, expired or not.
    pub async fn registration(&self, name: &Name) -> Option<NameRecord> {
        self.ledger_read().await;
        self.directory().index()?.registration(name)
    }

    /// The registered names of a wallet, expired ones too, in order.
    pub async fn names_owned_by(&self, owner: &WalletAddress) -> Vec<NameRecord> {
        self.ledger_read().await;
        let index = self.directory().index();
        index.map_or_else(Vec::new, |index| index.names_owned_by(owner))
    }

    /// Waits, twenty seconds at most, until the index says of a name what was put on the ledger; what it says then.
    pub async fn name_seen(
        &self,
        name: &Name,
        mut expected: impl FnMut(&NameRecord) -> bool,
    ) -> Option<NameRecord> {
        let mut changes = self.directory().changes();
        let seen = async {
            loop {
                changes.mark_unchanged();
                let record = self.registration(name).await;
                if record.as_ref().is_some_and(&mut expected) || changes.changed().await.is_err() {
                    return record;
                }
            }
        };
        match tokio::time::timeout(SEEING_PATIENCE, seen).await {
            Ok(record) => record,
            Err(_late) => self.registration(name).await,
        }
    }
}
