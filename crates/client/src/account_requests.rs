//! What the owner of an account asks of its mailbox: open it, close it, put a route on the ledger, forget
//! what was received.

use packet::OpenError;
use protocol::NodeId;
use protocol::answer::{Answer, Refusal};
use protocol::command::{DeviceId, MAX_TOKENS, Request, Route, TOKEN_BYTES};
use wallet::{SecretCertificate, WalletSignature};

use crate::carrier::OwnerKeys;
use crate::carry::{Brought, CarryError, Errand, Load, Way};
use crate::network::Network;

/// Largest effort paid when a mailbox asks for a stamp before it opens an account: about ten seconds.
const MAX_ACCOUNT_EFFORT: u32 = 2_000;
/// Challenges asked for at most: a stamp or a restart of the mailbox may void one.
const MAX_CHALLENGES: usize = 4;

/// Why a mailbox did not do what an account's owner asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountFailure {
    /// The mailbox could not be asked.
    #[error("the mailbox could not be asked")]
    Carry(#[from] CarryError),
    /// The mailbox refused.
    #[error("the mailbox refused: {0}")]
    Refused(Box<Refusal>),
    /// The mailbox's challenge can't be decrypted.
    #[error("the mailbox's challenge can't be opened with the account's keys")]
    Challenge(#[source] Option<OpenError>),
    /// The mailbox never had enough of challenges.
    #[error("the mailbox asked for proof again and again")]
    Endless,
}

impl Network {
    /// Opens an account at a mailbox, or announces a rotated certificate to it: proves to hold the subkeys
    /// by decrypting the mailbox's challenges, and pays a stamp if asked. The mailbox is no entry from
    /// then on.
    ///
    /// # Errors
    /// [`AccountFailure`]; the account may be open all the same where the answer was lost: ask again.
    pub async fn open_mailbox(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
    ) -> Result<(), AccountFailure> {
        self.exclude_as_entries([mailbox]);
        let certificate = keys.certificate.certificate().to_bytes();
        let mut proofs: Vec<[u8; TOKEN_BYTES]> = Vec::new();
        for _ in 0..MAX_CHALLENGES {
            let request = Request::OpenMailbox {
                certificate: &certificate,
                binding: keys.binding.clone(),
                tokens: proofs.clone(),
            };
            match self.request(keys, mailbox, &request, Way::Relayed).await? {
                Answer::Done => return Ok(()),
                Answer::Challenge(packets) => {
                    for packet in packets.iter().take(MAX_TOKENS) {
                        proofs.push(token(packet, keys.certificate)?);
                    }
                    // The newest, if the mailbox asks for more and more.
                    let surplus = proofs.len().saturating_sub(MAX_TOKENS);
                    proofs.drain(..surplus);
                }
                other => return Err(refused(other)),
            }
        }
        Err(AccountFailure::Endless)
    }

    /// Has a mailbox put the wallet's signed route on the ledger.
    ///
    /// # Errors
    /// [`AccountFailure`].
    pub async fn submit_route(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        route: &Route,
        signature: WalletSignature,
    ) -> Result<(), AccountFailure> {
        self.do_request(
            keys,
            mailbox,
            &Request::SubmitRoute {
                route: route.clone(),
                signature,
            },
            Way::Relayed,
        )
        .await
    }

    /// Closes an account; the mailbox forgets all that it keeps for it.
    ///
    /// # Errors
    /// [`AccountFailure`].
    pub async fn close_mailbox(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
    ) -> Result<(), AccountFailure> {
        self.do_request(keys, mailbox, &Request::CloseMailbox, Way::Relayed)
            .await
    }

    /// Tells a mailbox that a device has everything up to a cursor in its durable inbox.
    ///
    /// Takes the way that deliveries take: through an entry that is not the mailbox.
    ///
    /// # Errors
    /// [`AccountFailure`]; what is not acknowledged is delivered again.
    pub async fn acknowledge(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        device: DeviceId,
        cursor: u64,
    ) -> Result<(), AccountFailure> {
        self.do_request(
            keys,
            mailbox,
            &Request::Acknowledge { device, cursor },
            Way::Entry,
        )
        .await
    }

    async fn do_request(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        request: &Request<'_>,
        way: Way,
    ) -> Result<(), AccountFailure> {
        match self.request(keys, mailbox, request, way).await? {
            Answer::Done => Ok(()),
            other => Err(refused(other)),
        }
    }

    async fn request(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        request: &Request<'_>,
        way: Way,
    ) -> Result<Answer, AccountFailure> {
        let target = self.known(&mailbox).await.map_err(CarryError::from)?;
        let request = request.encode();
        let errand = Errand {
            load: Load::Owner(keys, &request),
            target: Some(&target),
            way,
            stream: false,
            effort: None,
            max_effort: MAX_ACCOUNT_EFFORT,
        };
        let expected = |answer: &Answer| matches!(answer, Answer::Done | Answer::Challenge(_));
        match self.courier().carry(&errand, expected).await? {
            Brought::Answer(answer) => Ok(answer),
            Brought::Stream(..) => Err(CarryError::Forged.into()),
        }
    }
}

fn refused(answer: Answer) -> AccountFailure {
    match answer {
        Answer::Refused(refusal) => AccountFailure::Refused(refusal.into()),
        _ => CarryError::Forged.into(),
    }
}

/// Decrypts one challenge.
///
/// # Security
/// A mailbox must not use its owner to decrypt what others sent: only an unsigned message of exactly a
/// token's length and without an envelope is answered.
fn token(challenge: &[u8], keys: &SecretCertificate) -> Result<[u8; TOKEN_BYTES], AccountFailure> {
    let opened =
        packet::open(challenge, keys).map_err(|error| AccountFailure::Challenge(Some(error)))?;
    if opened.envelope.is_some() || opened.issuer.is_some() || opened.name.is_some() {
        return Err(AccountFailure::Challenge(None));
    }
    opened
        .body
        .as_ref()
        .try_into()
        .map_err(|_| AccountFailure::Challenge(None))
}

#[cfg(test)]
mod tests;
