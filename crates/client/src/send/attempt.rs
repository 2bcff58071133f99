//! One attempt to send one row: look up, seal, submit.

use std::sync::Arc;

use bytes::Bytes;
use packet::{Draft, MessageId, Packet, Receipt, ReplyRoute, SealError, Sender, SessionId};
use protocol::NodeId;
use protocol::answer::Record;
use rand::rngs::OsRng;
use tokio::task::JoinHandle;

use super::{AttemptError, Outbox};
use crate::carrier::{Resolved, Submission, SubmitError, Target};
use crate::home::HomeError;
use crate::state::{OutboxItem, OutboxProgress, OutboxRow, What};

/// How often a certificate may be superseded within one attempt.
const MAX_RESEALS: usize = 3;

/// A message that is being sealed, with the layer around it, beside the writing of its row, to the certificate that is
/// known already.
pub(super) struct Sealing {
    to: Resolved,
    sealed: JoinHandle<Result<Sealed, SealError>>,
}

/// A message that is sealed, and perhaps ready for its first way.
pub(super) struct Sealed {
    packet: Packet,
    submission: Option<Submission>,
}

/// A message, ready to be sealed to whatever certificate the recipient has.
pub(super) struct Letter<'a> {
    pub(super) item: &'a OutboxItem,
    pub(super) id: MessageId,
    pub(super) content_type: &'a str,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    pub(super) body: Bytes,
}

impl<'a> Letter<'a> {
    /// The one message that a row holds; `None` for a file, which is many.
    fn of(id: MessageId, item: &'a OutboxItem) -> Option<Self> {
        Some(match &item.what {
            What::Message {
                content_type,
                text,
                session,
                sequence,
                time_ms,
            } => Self {
                item,
                id,
                content_type,
                session: SessionId::from_bytes(*session),
                sequence: *sequence,
                time_ms: *time_ms,
                body: Bytes::copy_from_slice(text.as_bytes()),
            },
            What::Receipt {
                ids,
                session,
                time_ms,
            } => {
                let ids = ids.iter().map(|id| MessageId::from_bytes(*id)).collect();
                Self {
                    item,
                    id,
                    content_type: packet::ContentType::RECEIPT,
                    session: SessionId::from_bytes(*session),
                    sequence: 0,
                    time_ms: *time_ms,
                    body: Receipt { ids }.encode().into(),
                }
            }
            What::File(_) => return None,
        })
    }
}

impl Outbox {
    /// Begins to seal a message whose recipient's certificate is at hand, so that nobody need be asked. Nothing
    /// leaves by that; what goes wrong shows again in the attempt.
    pub(super) fn seal_ahead(&self, id: MessageId, item: &OutboxItem) -> Option<Sealing> {
        let letter = Letter::of(id, item)?;
        let to = self.carrier.at_hand(&target_of(item))?;
        let sealed = self.begin_sealing(&letter, &to).ok()?;
        Some(Sealing { to, sealed })
    }

    /// Tries to send a row; `row.progress` tells what became of it.
    pub(super) async fn attempt(
        &self,
        row: &mut OutboxRow,
        sealing: Option<Sealing>,
        hear: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), AttemptError> {
        let (mut to, sealed) = match sealing {
            Some(sealing) => (sealing.to, Some(joined(sealing.sealed).await?)),
            None => (self.carrier.look_up(&target_of(&row.item)).await?, None),
        };
        let item = row.item.clone();
        let progress = &mut row.progress;
        if let What::File(file) = &item.what {
            let sent = self.send_chunks(row.id, &item, file, progress, to, hear);
            return sent.await;
        }
        match Letter::of(row.id, &item) {
            Some(letter) => self.deliver(&letter, sealed, &mut to, progress).await,
            None => Ok(()),
        }
    }

    /// Stores one message at as many mailboxes as are wanted; `sealed` is the message sealed to `to`, if it is
    /// already. `to` is replaced if the recipient has rotated.
    pub(super) async fn deliver(
        &self,
        letter: &Letter<'_>,
        mut sealed: Option<Sealed>,
        to: &mut Resolved,
        progress: &mut OutboxProgress,
    ) -> Result<(), AttemptError> {
        for _ in 0..MAX_RESEALS {
            let sealed = match sealed.take() {
                Some(sealed) => sealed,
                None => joined(self.begin_sealing(letter, to)?).await?,
            };
            match self.store_copies(letter, sealed, to, progress).await {
                Err(AttemptError::Submit(SubmitError::Superseded(record))) => {
                    *to = self.newer(letter.item, to, *record).await?;
                }
                other => return other,
            }
        }
        Err(AttemptError::Unsettled)
    }

    /// The recipient's new certificate, if their wallet vouches for it and it is newer than the old one.
    async fn newer(
        &self,
        item: &OutboxItem,
        old: &Resolved,
        record: Record,
    ) -> Result<Resolved, AttemptError> {
        let newer = self.carrier.accept(&target_of(item), record).await?;
        let same =
            newer.wallet == old.wallet && newer.binding.fingerprint == old.binding.fingerprint;
        if !same || newer.binding.sequence <= old.binding.sequence {
            return Err(AttemptError::FalseCertificate);
        }
        Ok(newer)
    }

    async fn store_copies(
        &self,
        letter: &Letter<'_>,
        sealed: Sealed,
        to: &Resolved,
        progress: &mut OutboxProgress,
    ) -> Result<(), AttemptError> {
        let privacy = letter.item.privacy;
        let Sealed {
            packet,
            mut submission,
        } = sealed;
        if to.mailboxes.is_empty() {
            let stored = self.carrier.broadcast(&packet, privacy).await?;
            progress.stored_at = vec![stored.node];
            return Ok(());
        }
        // Mailboxes that the recipient has left don't count.
        (progress.stored_at).retain(|node| to.mailboxes.contains(node));
        let wanted = usize::from(letter.item.copies.max(1)).min(to.mailboxes.len());
        while progress.stored_at.len() < wanted {
            let left: Vec<NodeId> = (to.mailboxes.iter().copied())
                .filter(|node| !progress.stored_at.contains(node))
                .collect();
            let submitting = match submission.take() {
                Some(ready) => (self.carrier).submit_prepared(&packet, ready, &left, privacy),
                None => self.carrier.submit(&packet, &left, privacy),
            };
            match submitting.await {
                Ok(stored) if progress.stored_at.contains(&stored.node) => {
                    // The carrier went back to one that has it: there is no other.
                    return Err(AttemptError::TooFewCopies {
                        stored: progress.stored_at.len(),
                        wanted,
                        cause: SubmitError::QueueFull,
                    });
                }
                Ok(stored) => progress.stored_at.push(stored.node),
                Err(error @ SubmitError::Superseded(_)) => return Err(error.into()),
                Err(cause) if !progress.stored_at.is_empty() => {
                    return Err(AttemptError::TooFewCopies {
                        stored: progress.stored_at.len(),
                        wanted,
                        cause,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Begins to seal a message with the wallet's certificate as it is now, and to make ready what goes
    /// around it on its first way, where that may take its time.
    fn begin_sealing(
        &self,
        letter: &Letter<'_>,
        to: &Resolved,
    ) -> Result<JoinHandle<Result<Sealed, SealError>>, HomeError> {
        let identity = self.account.identity()?;
        let mailboxes = &identity.binding.mailboxes;
        let signed = letter.item.signed;
        let reply = (signed && !mailboxes.is_empty()).then(|| ReplyRoute {
            fingerprint: identity.binding.fingerprint,
            mailboxes: mailboxes.clone(),
        });
        let draft = Draft {
            message_id: letter.id,
            time_ms: letter.time_ms,
            content_type: letter.content_type.to_owned(),
            session: letter.session,
            sequence: letter.sequence,
            reply,
            body: letter.body.clone(),
        };
        let (account, carrier) = (Arc::clone(&self.account), Arc::clone(&self.carrier));
        let (to, privacy) = (to.clone(), letter.item.privacy);
        Ok(tokio::task::spawn_blocking(move || {
            let sender = Sender {
                wallet: account.key(),
                certificate: &identity.secret,
                binding: &identity.binding,
            };
            let sender = signed.then_some(&sender);
            let packet = packet::seal(&draft, sender, &to.certificate, &mut OsRng)?;
            let submission = carrier.prepare(&packet, &to.mailboxes, privacy);
            Ok(Sealed { packet, submission })
        }))
    }
}

/// What was sealed, once it is.
async fn joined(sealing: JoinHandle<Result<Sealed, SealError>>) -> Result<Sealed, SealError> {
    match sealing.await {
        Ok(sealed) => sealed,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Whose certificate the item is sealed to.
fn target_of(item: &OutboxItem) -> Target {
    Target {
        wallet: item.to,
        fingerprint: item.fingerprint,
        mailboxes: item.mailboxes.clone(),
    }
}
