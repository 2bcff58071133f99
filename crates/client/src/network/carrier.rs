//! The network as the joint that the keeping half of a client asks.

use std::time::Duration;

use ledger::{Name, ResolveError};
use packet::Packet;
use protocol::NodeId;
use protocol::answer::{Item, Record, Refusal};
use protocol::command::{DeviceId, Route};
use wallet::{WalletAddress, WalletSignature};

use super::Network;
use crate::account_requests::AccountFailure;
use crate::carrier::{
    Carried, Carrier, Cause, Collection, Delivery, LookUpError, OwnerKeys, Privacy, RequestError,
    Resolved, Stored, Submission, SubmitError, Target,
};
use crate::carry::CarryError;
use crate::collect::{self, CollectFailure};
use crate::look_up::LookUpFailure;
use crate::submit::{SubmitFailure, SubmitOptions};

/// Nodes offered as mailboxes at most.
const MAX_PROPOSED: usize = 16;

impl From<SubmitFailure> for SubmitError {
    fn from(failure: SubmitFailure) -> Self {
        match failure {
            SubmitFailure::Superseded(record) => Self::Superseded(record),
            SubmitFailure::QueueFull { .. } => Self::QueueFull,
            failure if failure.is_transient() => Self::Unreachable(failure.into()),
            failure => Self::Refused(failure.into()),
        }
    }
}

impl From<LookUpFailure> for LookUpError {
    fn from(failure: LookUpFailure) -> Self {
        match failure {
            LookUpFailure::NoRoute(_) | LookUpFailure::NotFound(_) => Self::NotFound,
            // An outdated mailbox may only not have heard of the wallet's last rotation yet.
            LookUpFailure::Carry(_) | LookUpFailure::Notes(_) | LookUpFailure::Outdated { .. } => {
                Self::Unreachable(failure.into())
            }
            _ => Self::Untrusted(failure.into()),
        }
    }
}

impl From<AccountFailure> for RequestError {
    fn from(failure: AccountFailure) -> Self {
        match &failure {
            AccountFailure::Refused(refusal) => Verdict::of(refusal),
            AccountFailure::Carry(error) => Verdict::of_carry(error),
            AccountFailure::Challenge(_) => Verdict::Final,
            AccountFailure::Endless => Verdict::Passing,
        }
        .with(failure.into())
    }
}

impl From<CollectFailure> for RequestError {
    fn from(failure: CollectFailure) -> Self {
        match &failure {
            CollectFailure::Refused(refusal) => Verdict::of(refusal),
            CollectFailure::Carry(error) => Verdict::of_carry(error),
            _ => Verdict::Passing,
        }
        .with(failure.into())
    }
}

/// What a failed request means to its owner.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    NoAccount,
    Final,
    Passing,
}

impl Verdict {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotFound | Refusal::UnknownKey => Self::NoAccount,
            refusal if refusal.is_transient() => Self::Passing,
            _ => Self::Final,
        }
    }

    fn of_carry(error: &CarryError) -> Self {
        match error {
            CarryError::Refused(refusal) => Self::of(refusal),
            CarryError::Command(_) | CarryError::Stamp(_) => Self::Final,
            _ => Self::Passing,
        }
    }

    fn with(self, cause: Cause) -> RequestError {
        match self {
            Self::NoAccount => RequestError::NotFound,
            Self::Final => RequestError::Refused(cause),
            Self::Passing => RequestError::Unreachable(cause),
        }
    }
}

impl Delivery for collect::Delivery {
    fn next(&mut self) -> Carried<'_, Result<Option<Item>, RequestError>> {
        Box::pin(async { Ok(Self::next(self).await?) })
    }
}

impl Carrier for Network {
    fn ready(&self, patience: Duration) -> Carried<'_, Result<(), RequestError>> {
        Box::pin(async move {
            Self::ready(self, patience)
                .await
                .map_err(|error| RequestError::Unreachable(error.into()))
        })
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> Carried<'a, Result<WalletAddress, ResolveError>> {
        Box::pin(Self::resolve(self, name))
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.propose_mailboxes(MAX_PROPOSED)
    }

    fn knows<'a>(&'a self, node: &'a NodeId) -> Carried<'a, bool> {
        Box::pin(async move { self.known(node).await.is_ok() })
    }

    fn submit<'a>(
        &'a self,
        packet: &'a Packet,
        mailboxes: &'a [NodeId],
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        Box::pin(async move {
            Ok(Self::submit(self, packet, mailboxes, privacy, SubmitOptions::default()).await?)
        })
    }

    fn prepare(
        &self,
        packet: &Packet,
        mailboxes: &[NodeId],
        privacy: Privacy,
    ) -> Option<Submission> {
        self.prepare_submission(packet, mailboxes, privacy)
            .map(Submission)
    }

    fn submit_prepared<'a>(
        &'a self,
        packet: &'a Packet,
        submission: Submission,
        mailboxes: &'a [NodeId],
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        let (submission, options) = (Some(submission.0), SubmitOptions::default());
        Box::pin(async move {
            Ok(
                Self::submit_prepared(self, packet, submission, mailboxes, privacy, options)
                    .await?,
            )
        })
    }

    fn broadcast<'a>(
        &'a self,
        packet: &'a Packet,
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        Box::pin(async move {
            Ok(Self::broadcast(self, packet, privacy, SubmitOptions::default()).await?)
        })
    }

    fn at_hand(&self, target: &Target) -> Option<Resolved> {
        self.certificates().find(target)
    }

    fn look_up<'a>(&'a self, target: &'a Target) -> Carried<'a, Result<Resolved, LookUpError>> {
        Box::pin(async move { Ok(Self::look_up(self, target).await?) })
    }

    fn accept<'a>(
        &'a self,
        target: &'a Target,
        record: Record,
    ) -> Carried<'a, Result<Resolved, LookUpError>> {
        Box::pin(async move { Ok(Self::accept(self, target, record).await?) })
    }

    fn open_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move { Ok(Self::open_mailbox(self, keys, mailbox).await?) })
    }

    fn submit_route<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
        route: &'a Route,
        signature: WalletSignature,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(
            async move { Ok(Self::submit_route(self, keys, mailbox, route, signature).await?) },
        )
    }

    fn close_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move { Ok(Self::close_mailbox(self, keys, mailbox).await?) })
    }

    fn acknowledge<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
        device: DeviceId,
        cursor: u64,
    ) -> Carried<'a, Result<(), RequestError>> {
        Box::pin(async move { Ok(Self::acknowledge(self, keys, mailbox, device, cursor).await?) })
    }

    fn collect<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        collection: Collection,
    ) -> Carried<'a, Result<Box<dyn Delivery>, RequestError>> {
        Box::pin(async move {
            let delivery = Self::collect(self, keys, collection).await?;
            Ok(Box::new(delivery) as Box<dyn Delivery>)
        })
    }
}
