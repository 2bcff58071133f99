//! Whom to send to, in all the ways in which a person may say it.

use ledger::{Name, NameError, ResolveError};
use protocol::NodeId;
use wallet::{AddressError, ContactError, ContactUri, Fingerprint, WalletAddress};

use super::{Home, HomeError};

/// Whom to send to: a wallet, with what is known of how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The wallet.
    pub wallet: WalletAddress,
    /// The fingerprint that its certificate must have, if a contact says so.
    pub fingerprint: Option<Fingerprint>,
    /// Where its mailboxes are if the ledger does not list it.
    pub mailboxes: Vec<NodeId>,
    /// What it is called here.
    pub name: Option<String>,
}

/// Why a text names no recipient.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// It begins as an address but is none.
    #[error("this is no wallet address")]
    Address(#[from] AddressError),
    /// It begins as a contact but is none.
    #[error("this is no contact")]
    Contact(#[from] ContactError),
    /// It is a name of the ledger, which the home alone does not know.
    #[error("{0} is a name of the network: give the address that `conet name resolve {0}` prints")]
    NetworkName(String),
    /// It is meant as a name of the ledger, and can be none.
    #[error("{text} can be no name")]
    Name {
        /// What was given.
        text: String,
        /// Why.
        source: NameError,
    },
    /// It is a name of the ledger that says no wallet.
    #[error("{name} leads nowhere")]
    Unresolved {
        /// The name.
        name: Name,
        /// Why.
        source: ResolveError,
    },
    /// It is neither a label nor a contact of this home.
    #[error(
        "{0} is no wallet or contact here: give a 0x… address, a conet:… contact or a known name"
    )]
    Unknown(String),
    /// The home can't be read.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<WalletAddress> for Recipient {
    fn from(wallet: WalletAddress) -> Self {
        Self {
            wallet,
            fingerprint: None,
            mailboxes: Vec::new(),
            name: None,
        }
    }
}

impl From<ContactUri> for Recipient {
    fn from(uri: ContactUri) -> Self {
        Self {
            wallet: uri.wallet,
            fingerprint: uri.fingerprint,
            mailboxes: uri.mailboxes,
            name: None,
        }
    }
}

impl Home {
    /// Reads whom to send to: an address, a contact URI, the name of a contact or the label of an own wallet.
    ///
    /// An own wallet's label gives its address only: it is reached as a stranger would.
    ///
    /// # Errors
    /// [`RecipientError`] says what the text is not.
    pub fn recipient(&self, text: &str) -> Result<Recipient, RecipientError> {
        let text = text.trim();
        if text
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("conet:"))
        {
            let uri: ContactUri = text.parse()?;
            return Ok(self.with_contact(uri.into())?);
        }
        if text.starts_with("0x") || text.starts_with("0X") {
            let wallet: WalletAddress = text.parse()?;
            return Ok(self.with_contact(wallet.into())?);
        }
        if let Some(contact) = self.contacts()?.named(text) {
            return Ok(Recipient {
                name: Some(text.to_owned()),
                ..contact.uri.clone().into()
            });
        }
        match self.find(Some(text)) {
            Ok(head) => Ok(Recipient {
                name: Some(text.to_owned()),
                ..head.address.into()
            }),
            Err(HomeError::UnknownWallet(_)) if Name::is_meant(text) => {
                Err(RecipientError::NetworkName(text.to_owned()))
            }
            Err(HomeError::UnknownWallet(_)) => Err(RecipientError::Unknown(text.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds what the contact book knows of the same wallet.
    fn with_contact(&self, mut recipient: Recipient) -> Result<Recipient, HomeError> {
        if let Some(contact) = self.contacts()?.of(&recipient.wallet) {
            recipient.fingerprint = recipient.fingerprint.or(contact.uri.fingerprint);
            if recipient.mailboxes.is_empty() {
                recipient.mailboxes.clone_from(&contact.uri.mailboxes);
            }
            recipient.name = Some(contact.name.to_string());
        }
        Ok(recipient)
    }
}
