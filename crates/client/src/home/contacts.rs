//! The contact book: whom the owner of a home knows, and whom they don't want to hear.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wallet::{ContactUri, WalletAddress};

use super::private_files::{self, FileError};
use super::{HomeError, HomeLock, Label};

/// The most contacts, and the most blocked wallets.
pub const MAX_CONTACTS: usize = 10_000;
/// The longest contact book, bytes.
const MAX_BYTES: u64 = 8 << 20;
const FORMAT: u32 = 1;

/// Somebody whom the owner of a home knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// What they are called here.
    pub name: Label,
    /// How they are reached.
    pub uri: ContactUri,
}

/// All contacts and blocked wallets of a home, as read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactBook {
    version: u32,
    contacts: Vec<Contact>,
    #[serde(default)]
    blocked: Vec<WalletAddress>,
}

impl Default for ContactBook {
    fn default() -> Self {
        Self {
            version: FORMAT,
            contacts: Vec::new(),
            blocked: Vec::new(),
        }
    }
}

impl ContactBook {
    /// The contacts, by name.
    #[must_use]
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// The wallets whose messages are dropped.
    #[must_use]
    pub fn blocked(&self) -> &[WalletAddress] {
        &self.blocked
    }

    /// The contact of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Contact> {
        self.contacts
            .iter()
            .find(|contact| contact.name.as_str() == name)
    }

    /// The contact with that wallet.
    #[must_use]
    pub fn of(&self, wallet: &WalletAddress) -> Option<&Contact> {
        self.contacts
            .iter()
            .find(|contact| contact.uri.wallet == *wallet)
    }

    /// Whether messages of that wallet are dropped.
    #[must_use]
    pub fn is_blocked(&self, wallet: &WalletAddress) -> bool {
        self.blocked.contains(wallet)
    }

    /// Adds a contact, or changes the one of that name.
    pub(crate) fn put(&mut self, contact: Contact) -> Result<(), HomeError> {
        match self
            .contacts
            .binary_search_by(|c| c.name.cmp(&contact.name))
        {
            Ok(place) => {
                if let Some(old) = self.contacts.get_mut(place) {
                    *old = contact;
                }
            }
            Err(_) if self.contacts.len() >= MAX_CONTACTS => {
                return Err(HomeError::TooManyContacts);
            }
            Err(place) => self.contacts.insert(place, contact),
        }
        Ok(())
    }

    /// Adds what another book has and this one lacks.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), HomeError> {
        for contact in other.contacts {
            if self.named(contact.name.as_str()).is_none() {
                self.put(contact)?;
            }
        }
        for wallet in other.blocked {
            self.block(wallet, true)?;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<Contact, HomeError> {
        let place = self.contacts.iter().position(|c| c.name.as_str() == name);
        place
            .map(|place| self.contacts.remove(place))
            .ok_or_else(|| HomeError::UnknownContact(name.to_owned()))
    }

    pub(crate) fn block(&mut self, wallet: WalletAddress, block: bool) -> Result<(), HomeError> {
        self.blocked.retain(|blocked| *blocked != wallet);
        if block {
            if self.blocked.len() >= MAX_CONTACTS {
                return Err(HomeError::TooManyContacts);
            }
            self.blocked.push(wallet);
        }
        Ok(())
    }
}

/// Where the contact book lies.
#[derive(Debug, Clone)]
pub(crate) struct ContactFile {
    path: PathBuf,
}

impl ContactFile {
    pub(crate) fn in_home(home: &Path) -> Self {
        Self {
            path: home.join("contacts.json"),
        }
    }

    pub(crate) fn read(&self) -> Result<ContactBook, HomeError> {
        let Some(json) = private_files::read(&self.path, MAX_BYTES)? else {
            return Ok(ContactBook::default());
        };
        let malformed = |source| HomeError::MalformedFile {
            path: self.path.clone(),
            source,
        };
        let mut book: ContactBook = serde_json::from_slice(&json).map_err(malformed)?;
        if book.version != FORMAT {
            return Err(HomeError::UnknownVersion {
                path: self.path.clone(),
                found: book.version,
            });
        }
        book.contacts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(book)
    }

    /// Changes the book; processes take turns.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut ContactBook) -> Result<T, HomeError>,
    ) -> Result<T, HomeError> {
        let _turn = HomeLock::wait(&self.path.with_extension("lock"))?;
        let mut book = self.read()?;
        let value = change(&mut book)?;
        let json = serde_json::to_vec_pretty(&book).map_err(|source| HomeError::MalformedFile {
            path: self.path.clone(),
            source,
        })?;
        private_files::replace(&self.path, &json)?;
        Ok(value)
    }
}

/// Tells whether a file that is only ever replaced is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl FileStamp {
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, FileError> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self {
                inode: metadata.ino(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                length: metadata.len(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::at("look at", path)(error)),
        }
    }
}
