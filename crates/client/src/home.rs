//! The home: a person's wallets, contacts and networks, as files that only they may read.
//!
//! ```text
//! wallets/<label>.json       a wallet: what may be known of it, its key under a password
//! accounts/<0xaddress>/      what belongs to it: identity, state.db, partial files, locks
//! contacts.json              contacts and blocked wallets
//! networks/<name>.json       networks, and below networks/<name>/ what is known of them
//! ```
//!
//! Several processes use one home at once.

mod account;
mod contacts;
pub(crate) mod identity;
mod label;
mod lock;
pub(crate) mod private_files;
mod recipient;
mod transfer_bundle;
mod wallet_file;

pub use account::Account;
pub use contacts::{Contact, ContactBook, MAX_CONTACTS};
pub use label::{Label, LabelError, MAX_LABEL_BYTES};
pub use private_files::FileError;
pub use recipient::{Recipient, RecipientError};
pub use wallet_file::WalletHead;

pub(crate) use contacts::ContactFile;
pub(crate) use lock::{HomeLock, SignOfLife};

use std::path::{Path, PathBuf};

use protocol::NodeId;
use rand::rngs::OsRng;
use wallet::keystore::{self, KeystoreError, ScryptCost};
use wallet::{
    BindingError, CertificateKind, Mnemonic, MnemonicError, SecretCertificateError, WalletAddress,
    WalletKey, WordCount,
};
use zeroize::Zeroizing;

use crate::state::{StateError, Vault};
use crate::wall_clock::WallClock;
use identity::Identity;
use wallet_file::{FORMAT, MAX_WALLET_FILE_BYTES, WalletFile};

/// The most wallets in one home.
pub const MAX_WALLETS: usize = 1_000;

/// Why a home, or something in it, can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// A file or folder can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is no JSON of its kind.
    #[error("{path} is damaged", path = .path.display())]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file was written by a later version of this program.
    #[error("{path} has format {found}, which this program does not know: update it", path = .path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no wallet at all.
    #[error("there is no wallet here yet: make one with `conet wallet new`")]
    NoWallet,
    /// No wallet has that label or address.
    #[error("there is no wallet {0} here: see `conet wallet list`")]
    UnknownWallet(String),
    /// What begins as an address is none.
    #[error("{0} is no wallet address")]
    Address(String, #[source] wallet::AddressError),
    /// Another wallet has that label.
    #[error("there is a wallet or contact {0} already: choose another label")]
    LabelTaken(Label),
    /// The wallet is here under that label.
    #[error("this wallet is here already, as {0}")]
    AlreadyHere(Label),
    /// More than [`MAX_WALLETS`].
    #[error("a home holds at most {MAX_WALLETS} wallets")]
    TooManyWallets,
    /// More than [`MAX_CONTACTS`].
    #[error("a contact book holds at most {MAX_CONTACTS} entries")]
    TooManyContacts,
    /// No contact has that name.
    #[error("there is no contact {0}: see `conet contact list`")]
    UnknownContact(String),
    /// The text is no label.
    #[error("this is no label")]
    Label(#[from] LabelError),
    /// The keystore can't be opened or made.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The words are no mnemonic, or have no such wallet.
    #[error(transparent)]
    Mnemonic(#[from] MnemonicError),
    /// The certificate can't be made, read or rotated.
    #[error(transparent)]
    Certificate(#[from] SecretCertificateError),
    /// The binding can't be signed or believed.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The wallet's state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The wallet's certificate can't be read.
    #[error(
        "the certificate file of {0} is damaged: restore the wallet from its mnemonic or an export"
    )]
    DamagedIdentity(WalletAddress),
    /// The text is no export of a wallet.
    #[error("this is no export of a wallet")]
    MalformedExport(#[source] serde_json::Error),
    /// A network has no such name.
    #[error("a network's name has letters, digits, '-', '_' or '.'")]
    NetworkName,
}

/// Where a new wallet's key comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// New random words, of which it is the first wallet.
    Random(WordCount),
    /// The wallet of that index of these words.
    Mnemonic(Mnemonic, u32),
    /// A key from elsewhere.
    Key(WalletKey),
}

/// A wallet that is to be made or imported.
#[derive(Debug)]
pub struct NewWallet {
    /// What its owner calls it.
    pub label: Label,
    /// Where its key comes from.
    pub source: Source,
    /// What its certificate is made of.
    pub kind: CertificateKind,
    /// What its key is kept under; an empty one protects nothing.
    pub password: Zeroizing<String>,
    /// How much work it is to try a password.
    pub cost: ScryptCost,
    /// Whether it may have had a former life, whose sequence and mailboxes are to be asked for.
    pub restore: bool,
}

/// A wallet that was made or imported.
#[derive(Debug)]
pub struct Created {
    /// What the home shows of it.
    pub head: WalletHead,
    /// Its words, to be written down, if it has any.
    pub mnemonic: Option<Zeroizing<String>>,
}

/// A home folder.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    clock: WallClock,
}

impl Home {
    /// Opens a home, making its folders if need be.
    ///
    /// # Errors
    /// [`HomeError::File`] if they can't be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, HomeError> {
        Self::open_with_clock(path, WallClock::system())
    }

    /// Opens a home that goes by that clock.
    ///
    /// # Errors
    /// As [`Home::open`].
    pub fn open_with_clock(path: impl Into<PathBuf>, clock: WallClock) -> Result<Self, HomeError> {
        let home = Self {
            path: path.into(),
            clock,
        };
        for folder in ["wallets", "accounts", "networks"] {
            private_files::make_folder(&home.path.join(folder))?;
        }
        Ok(home)
    }

    /// The home's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file of a network lies, whether it is there or not.
    ///
    /// # Errors
    /// [`HomeError::NetworkName`] for a name that could leave the folder.
    pub fn network_path(&self, name: &str) -> Result<PathBuf, HomeError> {
        let label: Label = name.parse().map_err(|_| HomeError::NetworkName)?;
        Ok(self.path.join("networks").join(format!("{label}.json")))
    }

    /// The wallets, in the order in which they came.
    ///
    /// # Errors
    /// [`HomeError`] for a file that can't be read.
    pub fn wallets(&self) -> Result<Vec<WalletHead>, HomeError> {
        let folder = self.path.join("wallets");
        let entries = std::fs::read_dir(&folder).map_err(FileError::at("read", &folder))?;
        let mut heads = Vec::new();
        for entry in entries {
            let path = entry.map_err(FileError::at("read", &folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                heads.extend(self.read_wallet(&path)?.map(|file| file.head));
            }
            if heads.len() > MAX_WALLETS {
                return Err(HomeError::TooManyWallets);
            }
        }
        heads.sort_by(|a, b| (a.created_ms, &a.label).cmp(&(b.created_ms, &b.label)));
        Ok(heads)
    }

    /// The wallet with that label or address; the first where none is said.
    ///
    /// # Errors
    /// [`HomeError::NoWallet`], [`HomeError::UnknownWallet`] or [`HomeError::Address`].
    pub fn find(&self, selector: Option<&str>) -> Result<WalletHead, HomeError> {
        let mut heads = self.wallets()?.into_iter();
        let Some(selector) = selector else {
            return heads.next().ok_or(HomeError::NoWallet);
        };
        // No label begins so.
        let address: Option<WalletAddress> = if selector.starts_with("0x") {
            let parsed = selector.parse();
            Some(parsed.map_err(|error| HomeError::Address(selector.to_owned(), error))?)
        } else {
            None
        };
        heads
            .find(|head| head.label.as_str() == selector || Some(head.address) == address)
            .ok_or_else(|| HomeError::UnknownWallet(selector.to_owned()))
    }

    /// Makes or imports a wallet. Takes about a second at [`ScryptCost::Standard`].
    ///
    /// # Errors
    /// [`HomeError::LabelTaken`] or [`HomeError::AlreadyHere`]; others where a file can't be written.
    pub fn create(&self, new: NewWallet) -> Result<Created, HomeError> {
        let (key, words, index) = match new.source {
            Source::Random(count) => {
                let mnemonic = Mnemonic::generate(count, &mut OsRng)?;
                (mnemonic.wallet(0)?, Some(mnemonic.phrase()), Some(0))
            }
            Source::Mnemonic(mnemonic, index) => (
                mnemonic.wallet(index)?,
                Some(mnemonic.phrase()),
                Some(index),
            ),
            Source::Key(key) => (key, None, None),
        };
        self.check_free(&new.label, key.address())?;
        let now_ms = self.clock.now_ms();
        let head = WalletHead {
            label: new.label,
            address: key.address(),
            certificate: new.kind,
            created_ms: now_ms,
            index,
            password_is_empty: new.password.is_empty(),
        };
        let keystore = keystore::encrypt(&key, &new.password, new.cost, &mut OsRng)?;
        let identity = Identity::create(&key, new.kind, now_ms, new.restore)?;
        let vault = Vault::of(&key);
        let file = WalletFile {
            version: FORMAT,
            keystore: serde_json::from_str(&keystore).map_err(KeystoreError::Malformed)?,
            mnemonic: words
                .as_ref()
                .map(|words| account::seal_words(&vault, head.address, words)),
            head,
        };
        self.write_files(&file, &identity, &vault)?;
        Ok(Created {
            head: file.head,
            mnemonic: words,
        })
    }

    /// Opens a wallet by its password. Takes about a second at [`ScryptCost::Standard`].
    ///
    /// # Errors
    /// [`HomeError::Keystore`] for a wrong password; others where a file can't be read.
    pub fn unlock(&self, head: &WalletHead, password: &str) -> Result<Account, HomeError> {
        let path = self.wallet_path(&head.label);
        let file = self
            .read_wallet(&path)?
            .filter(|file| file.head.address == head.address)
            .ok_or_else(|| HomeError::UnknownWallet(head.label.to_string()))?;
        let key = keystore::decrypt(&file.keystore.to_string(), password)?;
        if key.address() != head.address {
            return Err(KeystoreError::InvalidKey.into());
        }
        Account::open(self, file, key)
    }

    /// Forgets a wallet: its file, certificate, state and partial files, overwriting what is secret.
    ///
    /// What is not in a mnemonic or export elsewhere is lost.
    ///
    /// # Errors
    /// [`HomeError::File`] if something can't be removed; what was removed until then is gone.
    pub fn discard(&self, head: &WalletHead) -> Result<(), HomeError> {
        let folder = self.account_folder(&head.address);
        private_files::wipe(&self.wallet_path(&head.label))?;
        for name in ["identity", "state.db", "state.db-wal", "state.db-shm"] {
            private_files::wipe(&folder.join(name))?;
        }
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::at("remove", &folder)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// The wallet's keystore: Web3 Secret Storage version 3, under the password it has.
    ///
    /// # Errors
    /// [`HomeError::UnknownWallet`].
    pub fn keystore(&self, head: &WalletHead) -> Result<String, HomeError> {
        let file = self.read_wallet(&self.wallet_path(&head.label))?;
        let file = file.ok_or_else(|| HomeError::UnknownWallet(head.label.to_string()))?;
        Ok(file.keystore.to_string())
    }

    /// The contact book as it is now.
    ///
    /// # Errors
    /// [`HomeError`] if it can't be read.
    pub fn contacts(&self) -> Result<ContactBook, HomeError> {
        self.contact_file().read()
    }

    /// Adds a contact, or changes the one of that name.
    ///
    /// # Errors
    /// [`HomeError::LabelTaken`] for the label of an own wallet, [`HomeError::TooManyContacts`].
    pub fn add_contact(&self, contact: Contact) -> Result<(), HomeError> {
        if self.find(Some(contact.name.as_str())).is_ok() {
            return Err(HomeError::LabelTaken(contact.name));
        }
        self.contact_file().change(|book| book.put(contact))
    }

    /// Removes a contact.
    ///
    /// # Errors
    /// [`HomeError::UnknownContact`].
    pub fn remove_contact(&self, name: &str) -> Result<Contact, HomeError> {
        self.contact_file().change(|book| book.remove(name))
    }

    /// Drops a wallet's messages from now on, or no longer.
    ///
    /// # Errors
    /// [`HomeError::TooManyContacts`].
    pub fn block(&self, wallet: WalletAddress, block: bool) -> Result<(), HomeError> {
        self.contact_file().change(|book| book.block(wallet, block))
    }

    /// The mailboxes of all wallets of this home.
    ///
    /// # Errors
    /// [`HomeError`] for a file that can't be read.
    pub fn mailboxes(&self) -> Result<Vec<NodeId>, HomeError> {
        let mut all = Vec::new();
        for head in self.wallets()? {
            all.extend(account::read_mailboxes(
                &self.account_folder(&head.address),
            )?);
        }
        Ok(all)
    }

    pub(crate) fn clock(&self) -> &WallClock {
        &self.clock
    }

    pub(crate) fn contact_file(&self) -> ContactFile {
        ContactFile::in_home(&self.path)
    }

    pub(crate) fn account_folder(&self, wallet: &WalletAddress) -> PathBuf {
        self.path.join("accounts").join(wallet.to_string())
    }

    fn wallet_path(&self, label: &Label) -> PathBuf {
        self.path.join("wallets").join(format!("{label}.json"))
    }

    fn check_free(&self, label: &Label, address: WalletAddress) -> Result<(), HomeError> {
        let heads = self.wallets()?;
        if let Some(head) = heads.iter().find(|head| head.address == address) {
            return Err(HomeError::AlreadyHere(head.label.clone()));
        }
        if heads.iter().any(|head| head.label == *label)
            || self.contacts()?.named(label.as_str()).is_some()
        {
            return Err(HomeError::LabelTaken(label.clone()));
        }
        if heads.len() >= MAX_WALLETS {
            return Err(HomeError::TooManyWallets);
        }
        Ok(())
    }

    /// Writes all files of a wallet, last the one that makes it known.
    fn write_files(
        &self,
        file: &WalletFile,
        identity: &Identity,
        vault: &Vault,
    ) -> Result<(), HomeError> {
        let address = file.head.address;
        let folder = self.account_folder(&address);
        private_files::make_folder(&folder)?;
        let sealed = identity::seal(identity, address, vault);
        let path = self.wallet_path(&file.head.label);
        let json = serde_json::to_vec_pretty(file).map_err(|source| HomeError::MalformedFile {
            path: path.clone(),
            source,
        })?;
        let written = private_files::replace_and_wipe(&folder.join("identity"), &sealed)
            .and_then(|()| private_files::write_new(&path, &json));
        if written.is_err() {
            // On a full disk nothing stays of it; a folder that holds something may be of another process.
            let _ = std::fs::remove_dir(&folder);
        }
        Ok(written?)
    }

    fn read_wallet(&self, path: &Path) -> Result<Option<WalletFile>, HomeError> {
        let Some(json) = private_files::read(path, MAX_WALLET_FILE_BYTES)? else {
            return Ok(None);
        };
        let file: WalletFile =
            serde_json::from_slice(&json).map_err(|source| HomeError::MalformedFile {
                path: path.to_owned(),
                source,
            })?;
        if file.version != FORMAT {
            return Err(HomeError::UnknownVersion {
                path: path.to_owned(),
                found: file.version,
            });
        }
        Ok(Some(file))
    }
}

#[cfg(test)]
mod tests;
