//! Exports: one wallet with its certificate, and the contacts, to take to another machine.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wallet::keystore;

use super::contacts::ContactBook;
use super::identity::{Identity, IdentityFile};
use super::wallet_file::WalletFile;
use super::{Account, Created, Home, HomeError, Label, WalletHead, account, identity};
use crate::state::Vault;

const CONTACTS: &str = "export.contacts";
const FORMAT: u32 = 1;

/// An export: the wallet file as it is, the rest encrypted under the wallet's key.
#[derive(Serialize, Deserialize)]
struct Bundle {
    conet_wallet_export: u32,
    #[serde(flatten)]
    head: WalletHead,
    keystore: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mnemonic: Option<String>,
    identity: String,
    contacts: String,
}

impl Home {
    /// Exports a wallet for another device: key, words and certificate under the wallet's password, and the contacts.
    ///
    /// From now on this wallet tells its other devices of new subkeys, by a message to itself.
    ///
    /// # Errors
    /// [`HomeError`] if something can't be read or written.
    pub fn export(&self, account: &Account) -> Result<String, HomeError> {
        account.change_identity(|identity| {
            identity.standing.shared = true;
            Ok(())
        })?;
        let address = account.address();
        let vault = account.vault();
        let contacts = serde_json::to_vec(&self.contacts()?).map_err(HomeError::MalformedExport)?;
        let contacts = vault.seal(CONTACTS, address.as_bytes(), &contacts);
        let identity = identity::seal(&*account.identity()?, address, vault);
        let keystore = self.keystore(account.head())?;
        let bundle = Bundle {
            conet_wallet_export: FORMAT,
            head: account.head().clone(),
            keystore: serde_json::from_str(&keystore).map_err(HomeError::MalformedExport)?,
            mnemonic: account.sealed_words().map(str::to_owned),
            identity: STANDARD.encode(identity),
            contacts: STANDARD.encode(contacts),
        };
        serde_json::to_string_pretty(&bundle).map_err(HomeError::MalformedExport)
    }

    /// Says whether a text is an export of [`Home::export`].
    #[must_use]
    pub fn is_export(text: &str) -> bool {
        serde_json::from_str::<Bundle>(text).is_ok()
    }

    /// Imports an export: this becomes a second device of the wallet. Contacts that are here already stay.
    ///
    /// If the wallet is here already, but with older keys than those of the export, it gets these.
    ///
    /// # Errors
    /// [`HomeError::Keystore`] for a wrong password, [`HomeError::MalformedExport`],
    /// [`HomeError::AlreadyHere`], [`HomeError::LabelTaken`].
    pub fn import(
        &self,
        text: &str,
        label: Option<Label>,
        password: &str,
    ) -> Result<Created, HomeError> {
        let bundle: Bundle = serde_json::from_str(text).map_err(HomeError::MalformedExport)?;
        if bundle.conet_wallet_export != FORMAT {
            return Err(HomeError::UnknownVersion {
                path: "export".into(),
                found: bundle.conet_wallet_export,
            });
        }
        let keystore = bundle.keystore.to_string();
        let key = keystore::decrypt(&keystore, password)?;
        let address = key.address();
        let mut head = bundle.head;
        head.label = label.unwrap_or(head.label);
        head.address = address;
        head.created_ms = self.clock.now_ms();
        let here = self.find(Some(&address.to_string())).ok();
        if here.is_none() {
            self.check_free(&head.label, address)?;
        }

        let vault = Vault::of(&key);
        let damaged = || HomeError::DamagedIdentity(address);
        let sealed = STANDARD.decode(&bundle.identity).map_err(|_| damaged())?;
        let mut identity = identity::unseal(&sealed, address, &vault)?;
        identity.standing.shared = true;
        identity.standing.secondary = true;
        let sealed = STANDARD.decode(&bundle.contacts).map_err(|_| damaged())?;
        let contacts = vault
            .open(CONTACTS, address.as_bytes(), &sealed)
            .map_err(|_| damaged())?;
        let contacts: ContactBook =
            serde_json::from_slice(&contacts).map_err(HomeError::MalformedExport)?;

        if let Some(head) = here {
            self.renew(&head, identity, vault)?;
            self.contact_file().change(|book| book.merge(contacts))?;
            return Ok(Created {
                head,
                mnemonic: None,
            });
        }
        let file = WalletFile {
            version: super::wallet_file::FORMAT,
            head,
            keystore: bundle.keystore,
            mnemonic: bundle.mnemonic,
        };
        self.write_files(&file, &identity, &vault)?;
        self.contact_file().change(|book| book.merge(contacts))?;
        Ok(Created {
            head: file.head,
            mnemonic: None,
        })
    }

    /// Gives a wallet that is here the newer identity of an export.
    fn renew(&self, head: &WalletHead, newer: Identity, vault: Vault) -> Result<(), HomeError> {
        let folder = self.account_folder(&head.address);
        let file = IdentityFile::new(&folder.join("identity"), head.address, Arc::new(vault));
        let mailboxes = newer.binding.mailboxes.clone();
        file.change(|current| {
            if newer.binding.sequence <= current.binding.sequence {
                return Err(HomeError::AlreadyHere(head.label.clone()));
            }
            *current = newer;
            Ok(())
        })?;
        account::write_mailboxes(&folder, &mailboxes)
    }
}
