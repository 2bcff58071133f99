//! A wallet that was unlocked, with everything that belongs to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::NodeId;
use protocol::command::DeviceId;
use rand::RngCore as _;
use rand::rngs::OsRng;
use wallet::{Certificate, CertificateBinding, ContactUri, WalletAddress, WalletKey};
use zeroize::Zeroizing;

use super::identity::{Identity, IdentityFile};
use super::wallet_file::WalletFile;
use super::{Home, HomeError, HomeLock, WalletHead, private_files};
use crate::state::{State, Vault};

const WORDS: &str = "mnemonic";
const DEVICE: &str = "device";

/// An unlocked wallet.
///
/// # Security
/// It holds the wallet's key; `Debug` shows none of it.
pub struct Account {
    head: WalletHead,
    key: WalletKey,
    folder: PathBuf,
    vault: Arc<Vault>,
    identity: IdentityFile,
    state: State,
    device: DeviceId,
    words: Option<String>,
}

impl Account {
    pub(super) fn open(home: &Home, file: WalletFile, key: WalletKey) -> Result<Self, HomeError> {
        let vault = Arc::new(Vault::of(&key));
        let folder = home.account_folder(&file.head.address);
        private_files::make_folder(&folder)?;
        let path = folder.join("identity");
        let identity = IdentityFile::new(&path, file.head.address, Arc::clone(&vault));
        if identity.read()?.is_none() {
            // The wallet file came from elsewhere, without its account.
            let now_ms = home.clock().now_ms();
            let kind = file.head.certificate;
            identity.write(&Identity::create(&key, kind, now_ms, true)?)?;
        }
        let state = State::open(&folder.join("state.db"), Arc::clone(&vault))?;
        Ok(Self {
            device: device_of(&state)?,
            head: file.head,
            key,
            folder,
            vault,
            identity,
            state,
            words: file.mnemonic,
        })
    }

    /// What the home shows of the wallet.
    #[must_use]
    pub fn head(&self) -> &WalletHead {
        &self.head
    }

    /// The wallet's address.
    #[must_use]
    pub fn address(&self) -> WalletAddress {
        self.head.address
    }

    /// The wallet's key.
    #[must_use]
    pub fn key(&self) -> &WalletKey {
        &self.key
    }

    /// The wallet's public certificate as it is now.
    ///
    /// # Errors
    /// [`HomeError`] if it can't be read.
    pub fn certificate(&self) -> Result<Certificate, HomeError> {
        Ok(self.identity()?.secret.certificate().clone())
    }

    /// The secret OpenPGP key, armored and not locked, for other OpenPGP programs.
    ///
    /// # Errors
    /// [`HomeError`] if it can't be read.
    pub fn openpgp_secret(&self) -> Result<Zeroizing<String>, HomeError> {
        Ok(self.identity()?.secret.to_openpgp_armored())
    }

    /// The wallet's word for its certificate and mailboxes as it is now.
    ///
    /// # Errors
    /// [`HomeError`] if it can't be read.
    pub fn binding(&self) -> Result<CertificateBinding, HomeError> {
        Ok(self.identity()?.binding.clone())
    }

    /// What others need to write to this wallet.
    ///
    /// # Errors
    /// [`HomeError`] if the certificate can't be read.
    pub fn contact_uri(&self) -> Result<ContactUri, HomeError> {
        let identity = self.identity()?;
        Ok(ContactUri {
            wallet: self.address(),
            fingerprint: Some(identity.binding.fingerprint),
            mailboxes: identity.binding.mailboxes.clone(),
        })
    }

    /// The words that the wallet comes from, if they are kept here.
    ///
    /// # Errors
    /// [`HomeError::DamagedIdentity`] if they can't be decrypted.
    pub fn mnemonic(&self) -> Result<Option<Zeroizing<String>>, HomeError> {
        let Some(sealed) = &self.words else {
            return Ok(None);
        };
        let damaged = || HomeError::DamagedIdentity(self.address());
        let sealed = STANDARD.decode(sealed).map_err(|_| damaged())?;
        let row = self.head.address;
        let words = self.vault.open(WORDS, row.as_bytes(), &sealed);
        let words = words.map_err(|_| damaged())?;
        let words = std::str::from_utf8(&words).map_err(|_| damaged())?;
        Ok(Some(Zeroizing::new(words.to_owned())))
    }

    pub(crate) fn identity(&self) -> Result<Arc<Identity>, HomeError> {
        let read = self.identity.read()?;
        read.ok_or(HomeError::DamagedIdentity(self.address()))
    }

    pub(crate) fn change_identity<T>(
        &self,
        change: impl FnOnce(&mut Identity) -> Result<T, HomeError>,
    ) -> Result<T, HomeError> {
        let value = self.identity.change(change)?;
        let mailboxes = self.identity()?.binding.mailboxes.clone();
        write_mailboxes(&self.folder, &mailboxes)?;
        Ok(value)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock that lets one process listen.
    pub(crate) fn lock_listening(&self) -> Result<Option<HomeLock>, HomeError> {
        Ok(HomeLock::take(&self.folder.join("listen.lock"))?)
    }

    pub(super) fn sealed_words(&self) -> Option<&str> {
        self.words.as_deref()
    }
}

/// The longest list of mailboxes, bytes.
const MAX_MAILBOX_FILE_BYTES: u64 = 4_096;

/// Writes down the wallet's mailboxes where other wallets of the home can read them: none of them uses one
/// of these nodes as an entry.
pub(super) fn write_mailboxes(folder: &Path, mailboxes: &[NodeId]) -> Result<(), HomeError> {
    let path = folder.join("mailboxes.json");
    let malformed = |source| HomeError::MalformedFile {
        path: path.clone(),
        source,
    };
    let json = serde_json::to_vec(mailboxes).map_err(malformed)?;
    if private_files::read(&path, MAX_MAILBOX_FILE_BYTES)?.as_deref() != Some(&json) {
        private_files::replace(&path, &json)?;
    }
    Ok(())
}

/// The mailboxes of a wallet of this home, locked or not.
pub(super) fn read_mailboxes(folder: &Path) -> Result<Vec<NodeId>, HomeError> {
    let path = folder.join("mailboxes.json");
    match private_files::read(&path, MAX_MAILBOX_FILE_BYTES)? {
        Some(json) => serde_json::from_slice(&json)
            .map_err(|source| HomeError::MalformedFile { path, source }),
        None => Ok(Vec::new()),
    }
}

/// The device's id, made when it is first asked for. Each wallet of a home has its own: mailboxes would
/// know by a common one that the wallets are one person's.
fn device_of(state: &State) -> Result<DeviceId, HomeError> {
    if let Some(device) = state.note(DEVICE)? {
        return Ok(device);
    }
    let mut device = DeviceId::default();
    OsRng.fill_bytes(&mut device);
    // Another process may have been faster: then that one holds.
    state.set_note(DEVICE, &device, false)?;
    Ok(state.note(DEVICE)?.unwrap_or(device))
}

/// Encrypts the words of a wallet, for its file.
pub(super) fn seal_words(vault: &Vault, wallet: WalletAddress, words: &str) -> String {
    STANDARD.encode(vault.seal(WORDS, wallet.as_bytes(), words.as_bytes()))
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
