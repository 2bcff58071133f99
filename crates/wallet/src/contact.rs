//! Contact URIs: a wallet, its certificate's fingerprint and its mailboxes as a line of text.

use std::{fmt, str::FromStr};

use crate::{
    AddressError, Fingerprint, FingerprintError, MAX_MAILBOXES, WalletAddress,
    text_codec::serde_as_text,
};

/// The longest contact URI that is read, in bytes; the longest that is written has 271.
pub const MAX_CONTACT_BYTES: usize = 1024;

/// How to reach a wallet: `conet:0x…?fp=…&mailbox=0x…`, as text or QR code.
///
/// It carries what the ledger says of listed wallets. Parameters that this version doesn't know are
/// skipped when read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContactUri {
    /// The wallet.
    pub wallet: WalletAddress,
    /// The fingerprint of its certificate's primary key.
    pub fingerprint: Option<Fingerprint>,
    /// The wallets of the nodes that keep packets for it, at most [`MAX_MAILBOXES`].
    pub mailboxes: Vec<WalletAddress>,
}

/// Why a text is no contact URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// Longer than [`MAX_CONTACT_BYTES`].
    #[error("the contact is longer than {MAX_CONTACT_BYTES} bytes")]
    TooLong,
    /// Another scheme, or none.
    #[error("a contact begins with conet:")]
    WrongScheme,
    /// The wallet is no address.
    #[error("the contact's wallet is wrong")]
    Wallet(#[source] AddressError),
    /// A parameter has no value.
    #[error("the contact has a parameter without a value")]
    MissingValue,
    /// The fingerprint is none.
    #[error("the contact's fingerprint is wrong")]
    Fingerprint(#[source] FingerprintError),
    /// More than one fingerprint.
    #[error("the contact has two fingerprints")]
    DuplicateFingerprint,
    /// A mailbox is no address.
    #[error("one of the contact's mailboxes is wrong")]
    Mailbox(#[source] AddressError),
    /// More than [`MAX_MAILBOXES`] mailboxes.
    #[error("the contact has more than {MAX_MAILBOXES} mailboxes")]
    TooManyMailboxes,
}

impl fmt::Display for ContactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conet:{}", self.wallet)?;
        let mut separator = '?';
        if let Some(fingerprint) = self.fingerprint {
            write!(f, "{separator}fp={fingerprint}")?;
            separator = '&';
        }
        for mailbox in &self.mailboxes {
            write!(f, "{separator}mailbox={mailbox}")?;
            separator = '&';
        }
        Ok(())
    }
}

impl FromStr for ContactUri {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, ContactError> {
        if text.len() > MAX_CONTACT_BYTES {
            return Err(ContactError::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(ContactError::WrongScheme)?;
        if !scheme.eq_ignore_ascii_case("conet") {
            return Err(ContactError::WrongScheme);
        }
        let (wallet, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut contact = Self {
            wallet: wallet.parse().map_err(ContactError::Wallet)?,
            fingerprint: None,
            mailboxes: Vec::new(),
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter
                .split_once('=')
                .ok_or(ContactError::MissingValue)?;
            contact.set(name, value)?;
        }
        Ok(contact)
    }
}

impl ContactUri {
    fn set(&mut self, name: &str, value: &str) -> Result<(), ContactError> {
        match name {
            "fp" => {
                let fingerprint = value.parse().map_err(ContactError::Fingerprint)?;
                if self.fingerprint.replace(fingerprint).is_some() {
                    return Err(ContactError::DuplicateFingerprint);
                }
            }
            "mailbox" => {
                if self.mailboxes.len() == MAX_MAILBOXES {
                    return Err(ContactError::TooManyMailboxes);
                }
                self.mailboxes
                    .push(value.parse().map_err(ContactError::Mailbox)?);
            }
            _ => {}
        }
        Ok(())
    }
}

serde_as_text!(ContactUri);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALLET: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    fn contact() -> impl Strategy<Value = ContactUri> {
        let fingerprint = prop::option::of(any::<([u8; 32], bool)>());
        let mailboxes = prop::collection::vec(any::<[u8; 20]>(), 0..=MAX_MAILBOXES);
        (any::<[u8; 20]>(), fingerprint, mailboxes).prop_map(|(wallet, fingerprint, mailboxes)| {
            ContactUri {
                wallet: WalletAddress::from_bytes(wallet),
                fingerprint: fingerprint.map(|(bytes, v4)| {
                    Fingerprint::from_slice(&bytes[..if v4 { 20 } else { 32 }]).unwrap()
                }),
                mailboxes: mailboxes
                    .into_iter()
                    .map(WalletAddress::from_bytes)
                    .collect(),
            }
        })
    }

    #[test]
    fn contact_of_a_bare_wallet_is_read() {
        let contact: ContactUri = format!("conet:{WALLET}").parse().unwrap();
        assert_eq!(contact.wallet.to_string(), WALLET);
        assert_eq!(contact.fingerprint, None);
        assert!(contact.mailboxes.is_empty());
    }

    #[test]
    fn contact_with_unknown_parameters_is_read_without_them() {
        let text = format!("CONET:{WALLET}?color=blue&mailbox={WALLET}");
        let contact: ContactUri = text.parse().unwrap();
        assert_eq!(contact.mailboxes.len(), 1);
    }

    #[test]
    fn contact_with_faults_names_the_fault() {
        let fp = "00".repeat(20);
        let cases = [
            (String::from(WALLET), ContactError::WrongScheme),
            (format!("mailto:{WALLET}"), ContactError::WrongScheme),
            (
                String::from("conet:"),
                ContactError::Wallet(AddressError::MissingPrefix),
            ),
            (format!("conet:{WALLET}?fp"), ContactError::MissingValue),
            (
                format!("conet:{WALLET}?fp=00"),
                ContactError::Fingerprint(FingerprintError::WrongLength { bytes: 1 }),
            ),
            (
                format!("conet:{WALLET}?fp={fp}&fp={fp}"),
                ContactError::DuplicateFingerprint,
            ),
            (
                format!("conet:{WALLET}?{}", format!("mailbox={WALLET}&").repeat(4)),
                ContactError::TooManyMailboxes,
            ),
            (
                format!("conet:{WALLET}?{}", "a=b&".repeat(400)),
                ContactError::TooLong,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<ContactUri>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn contact_round_trips(contact in contact()) {
            let text = contact.to_string();
            prop_assert!(text.len() <= 271);
            prop_assert_eq!(text.parse::<ContactUri>(), Ok(contact));
        }

        #[test]
        fn contact_parser_survives_any_text(text in ".{0,200}") {
            let _ = text.parse::<ContactUri>();
            let _ = format!("conet:{WALLET}?{text}").parse::<ContactUri>();
        }
    }
}
