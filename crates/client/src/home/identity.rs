//! A wallet's certificate with its secrets, and what was said of it to whom: one encrypted file.
//!
//! It is a file and not a row of the database so that the bytes of destroyed subkeys can be overwritten
//! where they lay. Processes that change it take turns; readers notice by its inode and time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use protocol::NodeId;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use wallet::{
    CertificateBinding, CertificateKind, MAX_BINDING_BYTES, MAX_SECRET_CERTIFICATE_BYTES,
    SecretCertificate, WalletAddress, WalletKey,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::contacts::FileStamp;
use super::private_files;
use super::{HomeError, HomeLock};
use crate::carrier::OwnerKeys;
use crate::state::Vault;

/// Where `wallet export` and this file agree on what the value is for.
const TABLE: &str = "identity";
/// Base64 of the secrets, and a little around them.
const MAX_BYTES: u64 = (2 * (MAX_SECRET_CERTIFICATE_BYTES + MAX_BINDING_BYTES) + 64 * 1024) as u64;
const FORMAT: u32 = 1;

/// A wallet's certificate and its standing in the network.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) secret: SecretCertificate,
    pub(crate) binding: CertificateBinding,
    pub(crate) standing: Standing,
}

/// What a wallet has said of its certificate, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// When the subkeys were made, Unix milliseconds.
    pub(crate) rotated_ms: u64,
    /// The mailboxes that were told of this binding.
    #[serde(default)]
    pub(crate) announced: Vec<NodeId>,
    /// Former mailboxes, which may still hold or get packets until that time.
    #[serde(default)]
    pub(crate) retiring: Vec<Retiring>,
    /// Whether the wallet wants its route on the ledger.
    #[serde(default)]
    pub(crate) listed: bool,
    /// The sequence of the last route that a mailbox took for the ledger.
    #[serde(default)]
    pub(crate) route_sequence: Option<u64>,
    /// Restored: the network may know a higher sequence and other mailboxes.
    #[serde(default)]
    pub(crate) unsettled: bool,
    /// Restored, and the owner has not been told yet that mail to the former keys is lost.
    #[serde(default)]
    pub(crate) restored: bool,
    /// Other devices have this wallet too and must hear of new subkeys.
    #[serde(default)]
    pub(crate) shared: bool,
    /// Another device is the one that rotates.
    #[serde(default)]
    pub(crate) secondary: bool,
}

/// A former mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retiring {
    pub(crate) node: NodeId,
    pub(crate) until_ms: u64,
}

impl Identity {
    /// A certificate with new subkeys.
    pub(crate) fn create(
        key: &WalletKey,
        kind: CertificateKind,
        now_ms: u64,
        unsettled: bool,
    ) -> Result<Self, HomeError> {
        let now_s = now_ms / 1_000;
        let secret = SecretCertificate::create(key, kind, now_s, &mut OsRng)?;
        let sequence = next_sequence(0, now_ms);
        let binding = CertificateBinding::sign(key, secret.certificate(), sequence, Vec::new())?;
        Ok(Self {
            secret,
            binding,
            standing: Standing {
                rotated_ms: now_ms,
                unsettled,
                ..Standing::default()
            },
        })
    }

    /// What proves to mailboxes that the owner asks.
    pub(crate) fn owner(&self) -> OwnerKeys<'_> {
        OwnerKeys {
            certificate: &self.secret,
            binding: &self.binding,
        }
    }

    /// Signs a new binding; nobody has heard of it yet.
    pub(crate) fn bind(
        &mut self,
        key: &WalletKey,
        above: u64,
        mailboxes: Vec<NodeId>,
        now_ms: u64,
    ) -> Result<(), HomeError> {
        let sequence = next_sequence(self.binding.sequence.max(above), now_ms);
        self.binding =
            CertificateBinding::sign(key, self.secret.certificate(), sequence, mailboxes)?;
        self.standing.announced.clear();
        Ok(())
    }

    /// Replaces the subkeys; the old ones still open what is under way.
    pub(crate) fn rotate(
        &mut self,
        key: &WalletKey,
        above: u64,
        now_ms: u64,
    ) -> Result<(), HomeError> {
        self.secret.rotate(now_ms / 1_000, &mut OsRng)?;
        let mailboxes = self.binding.mailboxes.clone();
        self.bind(key, above, mailboxes, now_ms)?;
        self.standing.rotated_ms = now_ms;
        Ok(())
    }
}

/// Above the last sequence and not below the time in seconds, so that a wallet restored from its words is above
/// what it said in its former life even if nobody can be asked.
fn next_sequence(last: u64, now_ms: u64) -> u64 {
    (last.saturating_add(1)).max(now_ms / 1_000)
}

/// The file as JSON, before it is encrypted.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    secret: String,
    binding: String,
    standing: Standing,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Encrypts an identity, as it lies on disk and travels in exports.
pub(crate) fn seal(identity: &Identity, wallet: WalletAddress, vault: &Vault) -> Vec<u8> {
    let stored = Stored {
        version: FORMAT,
        secret: STANDARD.encode(identity.secret.to_bytes().as_slice()),
        binding: STANDARD.encode(identity.binding.to_bytes()),
        standing: identity.standing.clone(),
    };
    #[expect(
        clippy::expect_used,
        reason = "strings, numbers and addresses always encode"
    )]
    let json = Zeroizing::new(serde_json::to_vec(&stored).expect("plain values"));
    vault.seal(TABLE, wallet.as_bytes(), &json)
}

/// Decrypts and checks what [`seal`] made.
pub(crate) fn unseal(
    sealed: &[u8],
    wallet: WalletAddress,
    vault: &Vault,
) -> Result<Identity, HomeError> {
    let damaged = || HomeError::DamagedIdentity(wallet);
    let json = vault
        .open(TABLE, wallet.as_bytes(), sealed)
        .map_err(|_| damaged())?;
    let stored: Stored = serde_json::from_slice(&json).map_err(|_| damaged())?;
    if stored.version != FORMAT {
        return Err(HomeError::UnknownVersion {
            path: PathBuf::from(TABLE),
            found: stored.version,
        });
    }
    let secret = STANDARD
        .decode(stored.secret.as_bytes())
        .map(Zeroizing::new);
    let secret = SecretCertificate::from_bytes(&secret.map_err(|_| damaged())?)?;
    let binding = STANDARD.decode(&stored.binding).map_err(|_| damaged())?;
    let binding = CertificateBinding::from_bytes(&binding)?;
    binding.verify()?;
    binding.verify_certificate(secret.certificate())?;
    if binding.wallet != wallet {
        return Err(damaged());
    }
    Ok(Identity {
        secret,
        binding,
        standing: stored.standing.clone(),
    })
}

/// Where an identity lies, with the copy that was read last.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    path: PathBuf,
    wallet: WalletAddress,
    vault: Arc<Vault>,
    read: Mutex<Option<(FileStamp, Arc<Identity>)>>,
}

impl IdentityFile {
    pub(crate) fn new(path: &Path, wallet: WalletAddress, vault: Arc<Vault>) -> Self {
        Self {
            path: path.to_owned(),
            wallet,
            vault,
            read: Mutex::new(None),
        }
    }

    /// The identity as it is now; `None` if there is no file yet.
    pub(crate) fn read(&self) -> Result<Option<Arc<Identity>>, HomeError> {
        let mut read = self.read.lock();
        let stamp = FileStamp::of(&self.path)?;
        if let (Some(stamp), Some((of, identity))) = (stamp, read.as_ref())
            && stamp == *of
        {
            return Ok(Some(Arc::clone(identity)));
        }
        let Some(sealed) = private_files::read(&self.path, MAX_BYTES)? else {
            return Ok(None);
        };
        let identity = Arc::new(unseal(&sealed, self.wallet, &self.vault)?);
        // Should it be replaced between the two looks, the stamp is the older one and the next look differs.
        *read = stamp.map(|stamp| (stamp, Arc::clone(&identity)));
        Ok(Some(identity))
    }

    /// Writes an identity, over the bytes of the one before.
    pub(crate) fn write(&self, identity: &Identity) -> Result<(), HomeError> {
        let sealed = seal(identity, self.wallet, &self.vault);
        private_files::replace_and_wipe(&self.path, &sealed)?;
        Ok(())
    }

    /// Changes the identity; processes take turns. Nothing is written where the change fails.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Identity) -> Result<T, HomeError>,
    ) -> Result<T, HomeError> {
        let _turn = HomeLock::wait(&self.path.with_extension("lock"))?;
        let current = self.read()?;
        let current = current.ok_or(HomeError::DamagedIdentity(self.wallet))?;
        let mut identity = Identity::clone(&current);
        let value = change(&mut identity)?;
        self.write(&identity)?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path) -> (WalletKey, IdentityFile, Identity) {
        let key = WalletKey::from_bytes([7; 32]).unwrap();
        let vault = Arc::new(Vault::of(&key));
        let file = IdentityFile::new(&folder.join("identity"), key.address(), vault);
        let kind = CertificateKind::V6Classic;
        let identity = Identity::create(&key, kind, 1_800_000_000_000, false).unwrap();
        (key, file, identity)
    }

    #[test]
    fn identity_changed_by_one_reader_is_seen_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let (key, file, identity) = made(folder.path());
        file.write(&identity).unwrap();
        let other = IdentityFile::new(&file.path, key.address(), Arc::new(Vault::of(&key)));
        assert_eq!(other.read().unwrap().unwrap().binding, identity.binding);
        let now_ms = 1_800_000_001_000;
        file.change(|identity| identity.rotate(&key, 0, now_ms))
            .unwrap();
        let seen = other.read().unwrap().unwrap();
        assert_eq!(seen.standing.rotated_ms, now_ms);
        assert!(seen.binding.sequence > identity.binding.sequence);
        assert_eq!(seen.secret.superseded().len(), 1);
    }

    #[test]
    fn identity_of_another_wallet_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_, file, identity) = made(folder.path());
        file.write(&identity).unwrap();
        let other = WalletKey::from_bytes([8; 32]).unwrap();
        let vault = Arc::new(Vault::of(&other));
        let file = IdentityFile::new(&file.path, other.address(), vault);
        assert!(matches!(file.read(), Err(HomeError::DamagedIdentity(_))));
    }

    #[test]
    fn sequence_of_a_restored_wallet_is_above_that_of_its_former_life() {
        let folder = tempfile::tempdir().unwrap();
        let (key, _, mut identity) = made(folder.path());
        for second in 1..4 {
            identity
                .rotate(&key, 0, 1_800_000_000_000 + second * 1_000)
                .unwrap();
        }
        let restored =
            Identity::create(&key, CertificateKind::V6Classic, 1_800_000_010_000, true).unwrap();
        assert!(restored.binding.sequence > identity.binding.sequence);
        assert_eq!(restored.binding.fingerprint, identity.binding.fingerprint);
    }
}
