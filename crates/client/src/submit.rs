//! Submits end-to-end packets to mailboxes and believes nothing but their signed word.

use std::sync::Arc;

use packet::Packet;
use protocol::NodeId;
use protocol::answer::{Acknowledgement, Answer, Record, Refusal};
use wallet::{Certificate, KeyId, MAX_MAILBOXES};

use crate::carrier::{Privacy, Stored};
use crate::carry::{Brought, CarryError, Errand, Load, Prepared, Way};
use crate::directory::Node;
use crate::network::Network;

/// Effort that is paid for a stamp unless the caller says otherwise: about a minute of one core.
pub const DEFAULT_MAX_EFFORT: u32 = 12_000;

/// What a submission may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitOptions {
    /// Largest effort that is paid when a mailbox asks for a stamp.
    pub max_effort: u32,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            max_effort: DEFAULT_MAX_EFFORT,
        }
    }
}

/// Why a packet was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitFailure {
    /// The recipient has a newer certificate, as yet unverified: [`Network::accept`] it and seal anew.
    #[error("the recipient's certificate has been replaced: seal to the new one")]
    Superseded(Box<Record>),
    /// The recipient's mailboxes are full.
    #[error(
        "the recipient's mailbox is full ({quota_bytes} bytes): try again when it has been emptied"
    )]
    QueueFull {
        /// The mailbox's quota in bytes.
        quota_bytes: u64,
    },
    /// No mailbox keeps packets for the key.
    #[error("no mailbox keeps packets for this recipient")]
    UnknownKey,
    /// No mailbox to submit to was given.
    #[error("the recipient has no mailbox")]
    NoMailbox,
    /// The packet did not reach a mailbox, or its acknowledgement did not come back.
    #[error("the packet was not acknowledged by a mailbox")]
    NotDelivered(#[from] CarryError),
}

impl SubmitFailure {
    /// Says whether the same packet may be stored when tried again later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::QueueFull { .. } => true,
            Self::Superseded(_) | Self::UnknownKey | Self::NoMailbox => false,
            Self::NotDelivered(CarryError::Refused(refusal)) => refusal.is_transient(),
            Self::NotDelivered(CarryError::Command(_) | CarryError::Stamp(_)) => false,
            Self::NotDelivered(_) => true,
        }
    }

    /// How much a reason tells; of several mailboxes' the most telling is reported.
    fn weight(&self) -> u8 {
        match self {
            Self::Superseded(_) => 5,
            Self::QueueFull { .. } => 4,
            Self::NotDelivered(CarryError::Stamp(_)) => 3,
            Self::NotDelivered(CarryError::Path(_)) => 0,
            Self::NotDelivered(_) => 2,
            Self::UnknownKey => 1,
            Self::NoMailbox => 0,
        }
    }
}

/// The first attempt to submit a packet, sealed already.
#[derive(Debug)]
pub(crate) struct Submission {
    mailbox: NodeId,
    prepared: Prepared,
}

impl Network {
    /// Submits a packet to the first of these mailboxes that stores it; tries at most three.
    ///
    /// Each is tried through several relays and entries. A stamp is minted if one is asked for. Only an
    /// acknowledgement of this packet, signed by the mailbox, counts.
    ///
    /// # Errors
    /// [`SubmitFailure`]; the packet may be stored all the same where an answer was lost, so submit the very
    /// same packet again: a mailbox recognises it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the packet is stored.
    pub async fn submit(
        &self,
        packet: &Packet,
        mailboxes: &[NodeId],
        privacy: Privacy,
        options: SubmitOptions,
    ) -> Result<Stored, SubmitFailure> {
        self.submit_prepared(packet, None, mailboxes, privacy, options)
            .await
    }

    /// Chooses a path to the first mailbox and seals a packet's layer for it, so that [`Self::submit_prepared`] need not.
    /// Nothing leaves by that.
    pub(crate) fn prepare_submission(
        &self,
        packet: &Packet,
        mailboxes: &[NodeId],
        privacy: Privacy,
    ) -> Option<Submission> {
        let mailbox = *mailboxes.first()?;
        let target = self.node(&mailbox)?;
        let errand = self.errand(packet, &target, privacy, SubmitOptions::default());
        let prepared = self.courier().prepare(&errand)?;
        Some(Submission { mailbox, prepared })
    }

    /// As [`Self::submit`]; `submission` is what was made ready for this very packet and privacy.
    pub(crate) async fn submit_prepared(
        &self,
        packet: &Packet,
        mut submission: Option<Submission>,
        mailboxes: &[NodeId],
        privacy: Privacy,
        options: SubmitOptions,
    ) -> Result<Stored, SubmitFailure> {
        let mut worst: Option<SubmitFailure> = None;
        for mailbox in mailboxes.iter().take(MAX_MAILBOXES) {
            let prepared = submission.take().filter(|it| it.mailbox == *mailbox);
            let prepared = prepared.map(|it| it.prepared);
            match self
                .submit_to(packet, prepared, mailbox, privacy, options)
                .await
            {
                Ok(stored) => return Ok(stored),
                Err(error @ SubmitFailure::Superseded(_)) => return Err(error),
                Err(error) => {
                    tracing::debug!(target: "client::submit", %error, "mailbox did not store");
                    if worst
                        .as_ref()
                        .is_none_or(|worst| worst.weight() < error.weight())
                    {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or(SubmitFailure::NoMailbox))
    }

    fn errand<'a>(
        &self,
        packet: &'a Packet,
        target: &'a Arc<Node>,
        privacy: Privacy,
        options: SubmitOptions,
    ) -> Errand<'a> {
        let is_listed = || self.directory().is_listed(&packet.key_id(), &target.id);
        Errand {
            load: Load::Packet(packet),
            target: Some(target),
            way: match privacy {
                Privacy::Relayed => Way::Relayed,
                Privacy::Direct if is_listed() => Way::Blind,
                // Its key ID leads nobody to an unlisted mailbox: a layer for the mailbox does.
                Privacy::Direct => Way::Direct,
            },
            stream: false,
            effort: None,
            max_effort: options.max_effort,
        }
    }

    async fn submit_to(
        &self,
        packet: &Packet,
        prepared: Option<Prepared>,
        mailbox: &NodeId,
        privacy: Privacy,
        options: SubmitOptions,
    ) -> Result<Stored, SubmitFailure> {
        let target = self.known(mailbox).await.map_err(CarryError::from)?;
        let errand = self.errand(packet, &target, privacy, options);
        // A blind packet goes where its key ID leads: any of its mailboxes may acknowledge it.
        let blind = errand.way == Way::Blind;
        let by = |ack: &Acknowledgement| {
            if !blind {
                return Some(Arc::clone(&target)).filter(|target| target.id == ack.node);
            }
            self.directory()
                .is_listed(&packet.key_id(), &ack.node)
                .then(|| self.node(&ack.node))?
        };
        self.run(packet, &errand, prepared, by).await
    }

    /// Submits a packet for a key that has no route and no known mailbox: nodes pass it on to each
    /// other until one that keeps a mailbox for it stores it. Always costs a stamp.
    ///
    /// # Errors
    /// [`SubmitFailure`]; [`SubmitFailure::UnknownKey`] where nobody within reach keeps the key.
    pub async fn broadcast(
        &self,
        packet: &Packet,
        privacy: Privacy,
        options: SubmitOptions,
    ) -> Result<Stored, SubmitFailure> {
        let errand = Errand {
            load: Load::Packet(packet),
            target: None,
            way: match privacy {
                Privacy::Relayed => Way::Relayed,
                Privacy::Direct => Way::Blind,
            },
            stream: false,
            effort: Some(self.stamp_effort().min(options.max_effort)),
            max_effort: options.max_effort,
        };
        self.run(packet, &errand, None, |ack| self.node(&ack.node))
            .await
    }

    async fn run(
        &self,
        packet: &Packet,
        errand: &Errand<'_>,
        prepared: Option<Prepared>,
        signer: impl Fn(&Acknowledgement) -> Option<Arc<Node>>,
    ) -> Result<Stored, SubmitFailure> {
        let hash = packet.hash();
        let proves = |answer: &Answer| {
            let ack = match answer {
                Answer::Acknowledged(ack) => ack,
                Answer::Refused(Refusal::Superseded(record)) => {
                    return replaces(record, packet.key_id());
                }
                _ => return false,
            };
            signer(ack).is_some_and(|node| {
                node.certificate
                    .as_ref()
                    .is_some_and(|certificate| ack.verify(&hash, &node.id, certificate))
            })
        };
        match self
            .courier()
            .carry_prepared(errand, prepared, proves)
            .await?
        {
            Brought::Answer(Answer::Acknowledged(ack)) => Ok(Stored {
                node: ack.node,
                time_ms: ack.time_ms,
            }),
            Brought::Answer(Answer::Refused(refusal)) => Err(match refusal {
                Refusal::Superseded(record) => SubmitFailure::Superseded(Box::new(record)),
                Refusal::QueueFull { quota_bytes } => SubmitFailure::QueueFull { quota_bytes },
                Refusal::UnknownKey | Refusal::NotFound => SubmitFailure::UnknownKey,
                other => CarryError::Refused(other.into()).into(),
            }),
            _ => Err(CarryError::Forged.into()),
        }
    }
}

/// Says whether a record is some wallet's own and no longer has the key.
fn replaces(record: &Record, key: KeyId) -> bool {
    let Ok(certificate) = Certificate::parse(&record.certificate) else {
        return false;
    };
    let bound =
        record.binding.verify().is_ok() && record.binding.verify_certificate(&certificate).is_ok();
    bound && certificate.subkey(&key).is_none()
}

#[cfg(test)]
mod tests;
