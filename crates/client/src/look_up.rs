//! Looks certificates up at mailboxes, through a relay, and checks that they are the wallet's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Answer, Record, Refusal};
use protocol::command::Subject;
use rand::seq::SliceRandom as _;
use wallet::{
    BindingError, Certificate, CertificateError, ContactUri, Fingerprint, MAX_MAILBOXES,
    WalletAddress,
};

use crate::carrier::{Resolved, Target};
use crate::carry::{Brought, CarryError, Errand, Load, Way};
use crate::network::Network;
use crate::network::notes::NotesError;
use crate::submit::DEFAULT_MAX_EFFORT;

/// How long a certificate that was looked up is used without asking again.
const CACHED: Duration = Duration::from_secs(3_600);
/// Certificates kept in memory at most.
const MAX_CACHED: usize = 1_024;

impl Target {
    /// A wallet of which nothing else is known.
    #[must_use]
    pub fn wallet(wallet: WalletAddress) -> Self {
        Self {
            wallet,
            fingerprint: None,
            mailboxes: Vec::new(),
        }
    }
}

impl From<&ContactUri> for Target {
    fn from(contact: &ContactUri) -> Self {
        Self {
            wallet: contact.wallet,
            fingerprint: contact.fingerprint,
            mailboxes: contact.mailboxes.clone(),
        }
    }
}

/// Why a wallet's certificate could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookUpFailure {
    /// Neither the ledger nor the caller names a mailbox.
    #[error("{0} is not on the ledger: ask its owner for a contact (conet wallet share)")]
    NoRoute(WalletAddress),
    /// None of its mailboxes has an account for the wallet.
    #[error("none of the mailboxes of {0} keeps its certificate")]
    NotFound(WalletAddress),
    /// No mailbox could be asked.
    #[error("no mailbox of the recipient could be asked")]
    Carry(#[from] CarryError),
    /// What a mailbox gave is no certificate.
    #[error("the mailbox's certificate is unacceptable")]
    Certificate(#[from] CertificateError),
    /// The wallet did not sign it.
    #[error("the mailbox's certificate is not vouched for by its wallet")]
    Binding(#[from] BindingError),
    /// The record is of another wallet.
    #[error("the mailbox gave the certificate of {0} instead")]
    OtherWallet(WalletAddress),
    /// The fingerprint is not what the ledger or the contact says.
    #[error(
        "the certificate's fingerprint is {found}, but {source_name} says {expected}: ask the owner which is right"
    )]
    OtherFingerprint {
        /// What the mailbox gave.
        found: Fingerprint,
        /// What was expected.
        expected: Fingerprint,
        /// Who said so.
        source_name: &'static str,
    },
    /// A newer certificate of the wallet has been seen before.
    #[error("the mailbox gave an old certificate (sequence {found}, but {seen} was seen before)")]
    Outdated {
        /// Its sequence.
        found: u64,
        /// The highest sequence seen.
        seen: u64,
    },
    /// What was seen before can't be read or written.
    #[error("can't compare the certificate with what was seen before")]
    Notes(#[from] NotesError),
}

/// The certificates looked up lately.
#[derive(Debug, Default)]
pub(crate) struct Certificates(Mutex<HashMap<WalletAddress, (Instant, Arc<Resolved>)>>);

impl Certificates {
    /// What is kept of that wallet, unless it is too old or not what the caller knows of it.
    pub(crate) fn find(&self, target: &Target) -> Option<Resolved> {
        let cached = self.0.lock();
        let (when, resolved) = cached.get(&target.wallet)?;
        let fits = target
            .fingerprint
            .is_none_or(|fingerprint| fingerprint == resolved.certificate.fingerprint());
        (fits && when.elapsed() < CACHED).then(|| Resolved::clone(resolved))
    }

    fn keep(&self, resolved: &Resolved) {
        let mut cached = self.0.lock();
        if cached.len() >= MAX_CACHED {
            cached.retain(|_, (when, _)| when.elapsed() < CACHED);
        }
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached.insert(
            resolved.wallet,
            (Instant::now(), Arc::new(resolved.clone())),
        );
    }

    fn forget(&self, wallet: &WalletAddress) {
        self.0.lock().remove(wallet);
    }
}

impl Network {
    /// Gives a wallet's current certificate, asking one of its mailboxes through a relay.
    ///
    /// What comes back is checked: signed by the wallet, of the fingerprint that the ledger and the
    /// contact name, and never older than what was seen before. It is kept in memory for an hour.
    ///
    /// # Errors
    /// [`LookUpFailure`]; where several mailboxes fail, the last one's reason.
    pub async fn look_up(&self, target: &Target) -> Result<Resolved, LookUpFailure> {
        if let Some(resolved) = self.certificates().find(target) {
            return Ok(resolved);
        }
        let mut mailboxes = self.mailboxes_of(target);
        if mailboxes.is_empty() {
            // The route may be newer than what is known of the ledger.
            self.ledger_read().await;
            mailboxes = self.mailboxes_of(target);
        }
        mailboxes.shuffle(&mut rand::thread_rng());
        let mut last = LookUpFailure::NoRoute(target.wallet);
        for mailbox in mailboxes.into_iter().take(2 * MAX_MAILBOXES) {
            match self.look_up_at(target, &mailbox).await {
                Ok(resolved) => return Ok(resolved),
                Err(error) => {
                    tracing::debug!(target: "client::look_up", %error, "mailbox gave no certificate");
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Checks a record that came with [`crate::carrier::SubmitError::Superseded`] and makes it the wallet's current
    /// certificate.
    ///
    /// # Errors
    /// [`LookUpFailure`] where it is not the wallet's or older than what was seen.
    pub async fn accept(&self, target: &Target, record: Record) -> Result<Resolved, LookUpFailure> {
        let certificate = Certificate::parse(&record.certificate)?;
        let binding = record.binding;
        binding.verify()?;
        binding.verify_certificate(&certificate)?;
        if binding.wallet != target.wallet {
            return Err(LookUpFailure::OtherWallet(binding.wallet));
        }
        let route = self.directory().route(&target.wallet);
        let expected = [
            (target.fingerprint, "the contact"),
            (route.as_ref().map(|route| route.fingerprint), "the ledger"),
        ];
        let found = certificate.fingerprint();
        for (expected, source_name) in expected {
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(LookUpFailure::OtherFingerprint {
                    found,
                    expected,
                    source_name,
                });
            }
        }
        let seen = self.note_sequence(binding.wallet, binding.sequence).await?;
        if seen > binding.sequence {
            return Err(LookUpFailure::Outdated {
                found: binding.sequence,
                seen,
            });
        }
        // The wallet's own word is the newest; an empty list leaves what led here.
        let mailboxes = if binding.mailboxes.is_empty() {
            self.mailboxes_of(target)
        } else {
            binding.mailboxes.clone()
        };
        let resolved = Resolved {
            wallet: target.wallet,
            certificate,
            binding,
            mailboxes,
        };
        self.certificates().keep(&resolved);
        Ok(resolved)
    }

    /// Forgets a certificate that was looked up, so that the next look-up asks anew.
    pub fn forget_certificate(&self, wallet: &WalletAddress) {
        self.certificates().forget(wallet);
    }

    /// The mailboxes that the ledger names and those that the caller knows.
    fn mailboxes_of(&self, target: &Target) -> Vec<NodeId> {
        let route = self.directory().route(&target.wallet);
        let mut mailboxes = route.map_or_else(Vec::new, |route| route.mailboxes);
        for mailbox in target.mailboxes.iter().take(MAX_MAILBOXES) {
            if !mailboxes.contains(mailbox) {
                mailboxes.push(*mailbox);
            }
        }
        mailboxes
    }

    async fn look_up_at(
        &self,
        target: &Target,
        mailbox: &NodeId,
    ) -> Result<Resolved, LookUpFailure> {
        let node = self.known(mailbox).await.map_err(CarryError::from)?;
        let errand = Errand {
            load: Load::LookUp(Subject::Wallet(target.wallet)),
            target: Some(&node),
            way: Way::Relayed,
            stream: false,
            effort: None,
            max_effort: DEFAULT_MAX_EFFORT,
        };
        let brought = self
            .courier()
            .carry(&errand, |answer| matches!(answer, Answer::Record(_)))
            .await?;
        match brought {
            Brought::Answer(Answer::Record(record)) => self.accept(target, record).await,
            Brought::Answer(Answer::Refused(Refusal::NotFound | Refusal::UnknownKey)) => {
                Err(LookUpFailure::NotFound(target.wallet))
            }
            Brought::Answer(Answer::Refused(other)) => {
                Err(CarryError::Refused(other.into()).into())
            }
            _ => Err(CarryError::Forged.into()),
        }
    }
}

#[cfg(test)]
mod tests;
