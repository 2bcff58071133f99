//! Which exit code an error of our crates means.

use std::error::Error as StdError;

use client::carrier::{LookUpError, RequestError, SubmitError as CarriedError};
use client::home::{HomeError, RecipientError};
use client::receive::ListenError;
use client::send::{AttemptError, SendError};
use client::services::{PublishError, ServiceNameError, SlotError};
use client::{NetworkError, OpenClientError, UpkeepError};
use ledger::{NameError, ResolveError, SubmitError as LedgerError};
use wallet::keystore::KeystoreError;
use wallet::{AddressError, ContactError};

use super::Exit;

type Dyn = dyn StdError + 'static;

/// The exit code of an error; `None` where its cause decides.
pub(super) fn exit(error: &Dyn) -> Option<Exit> {
    // A transparent error hides the error that it is from those who ask for its cause.
    if let Some(inner) = unwrapped(error) {
        return exit(inner);
    }
    of_sending(error)
        .or_else(|| of_asking(error))
        .or_else(|| of_home(error))
        .or_else(|| of_ledger(error))
}

fn unwrapped(error: &Dyn) -> Option<&Dyn> {
    if let Some(error) = error.downcast_ref::<SendError>() {
        return match error {
            SendError::Recipient(inner) => Some(inner),
            SendError::Home(inner) => Some(inner),
            SendError::Refused { cause, .. } => Some(cause),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<AttemptError>() {
        return match error {
            AttemptError::LookUp(inner) => Some(inner),
            AttemptError::Submit(inner) => Some(inner),
            AttemptError::Home(inner) => Some(inner),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<OpenClientError>() {
        return match error {
            OpenClientError::Home(inner) => Some(inner),
            OpenClientError::Network(inner) => Some(inner),
            _ => None,
        };
    }
    if let Some(LedgerError::Name(inner)) = error.downcast_ref() {
        return Some(inner);
    }
    if let Some(HomeError::Keystore(inner)) = error.downcast_ref() {
        return Some(inner);
    }
    if let Some(RecipientError::Home(inner)) = error.downcast_ref() {
        return Some(inner);
    }
    if let Some(ListenError::Home(inner)) = error.downcast_ref() {
        return Some(inner);
    }
    if let Some(UpkeepError::Home(inner)) = error.downcast_ref() {
        return Some(inner);
    }
    match error.downcast_ref() {
        Some(PublishError::Home(inner)) => return Some(inner),
        Some(PublishError::Slot(inner)) => return Some(inner),
        _ => {}
    }
    match error.downcast_ref() {
        Some(ServiceNameError::Name(inner)) => return Some(inner),
        Some(ServiceNameError::Unresolved(inner)) => return Some(inner),
        _ => {}
    }
    None
}

fn of_sending(error: &Dyn) -> Option<Exit> {
    match error.downcast_ref()? {
        SendError::NotYet { .. } => Some(Exit::Kept),
        SendError::TooManyCopies(_) => Some(Exit::Usage),
        _ => None,
    }
}

fn of_asking(error: &Dyn) -> Option<Exit> {
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            LookUpError::NotFound => Exit::NotFound,
            LookUpError::Unreachable(_) => Exit::Unreachable,
            _ => Exit::Refused,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            RequestError::NotFound => Exit::NotFound,
            RequestError::Unreachable(_) => Exit::Unreachable,
            _ => Exit::Refused,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            CarriedError::Unreachable(_) => Exit::Unreachable,
            _ => Exit::Refused,
        });
    }
    match error.downcast_ref()? {
        NetworkError::TooFewNodes { .. } => Some(Exit::Unreachable),
        _ => None,
    }
}

fn of_home(error: &Dyn) -> Option<Exit> {
    if error.is::<AddressError>() || error.is::<ContactError>() {
        return Some(Exit::Usage);
    }
    if let Some(UpkeepError::UnknownNode(_)) = error.downcast_ref() {
        return Some(Exit::NotFound);
    }
    if let Some(KeystoreError::WrongPassword) = error.downcast_ref() {
        return Some(Exit::Refused);
    }
    if let Some(error) = error.downcast_ref::<RecipientError>() {
        return match error {
            RecipientError::Unknown(_)
            | RecipientError::NetworkName(_)
            | RecipientError::Unresolved { .. } => Some(Exit::NotFound),
            RecipientError::Name { .. } => Some(Exit::Usage),
            _ => None,
        };
    }
    if error.is::<NameError>() {
        return Some(Exit::Usage);
    }
    if error.is::<ResolveError>() {
        return Some(Exit::NotFound);
    }
    if let Some(ListenError::NoMailbox) = error.downcast_ref() {
        return Some(Exit::NotFound);
    }
    match error.downcast_ref() {
        Some(PublishError::NoMailbox) => return Some(Exit::NotFound),
        Some(PublishError::NoService | PublishError::TooMany(_)) => return Some(Exit::Usage),
        _ => {}
    }
    if let Some(SlotError::Full) = error.downcast_ref() {
        return Some(Exit::Refused);
    }
    match error.downcast_ref()? {
        HomeError::NoWallet | HomeError::UnknownWallet(_) | HomeError::UnknownContact(_) => {
            Some(Exit::NotFound)
        }
        _ => None,
    }
}

fn of_ledger(error: &Dyn) -> Option<Exit> {
    match error.downcast_ref()? {
        LedgerError::Reverted(_) | LedgerError::InsufficientFunds { .. } => Some(Exit::Refused),
        LedgerError::NoServer(_) | LedgerError::NoReceipt { .. } => Some(Exit::Unreachable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_error_means_what_it_wraps() {
        let wrong = SendError::Home(HomeError::Keystore(KeystoreError::WrongPassword));
        assert_eq!(exit(&wrong), Some(Exit::Refused));
        let unknown = SendError::Recipient(RecipientError::Unknown("bob".to_owned()));
        assert_eq!(exit(&unknown), Some(Exit::NotFound));
        let nobody = OpenClientError::Home(HomeError::NoWallet);
        assert_eq!(exit(&nobody), Some(Exit::NotFound));
    }

    #[test]
    fn address_with_a_typing_error_is_wrong_usage() {
        let wrong: AddressError = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"
            .parse::<wallet::WalletAddress>()
            .unwrap_err();
        let failure = crate::failure::Failure::from(SendError::Recipient(wrong.into()));
        assert_eq!(failure.exit, Exit::Usage);
    }
}
