//! The joint between the two halves of a client: what keeps messages ([`crate::send`],
//! [`crate::receive`]) asks this of what carries them ([`crate::network`]).
//!
//! Tests put a network of their own here, so that durability and order are tested without sockets.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ledger::{Name, ResolveError};
use packet::Packet;
use protocol::NodeId;
use protocol::answer::{Item, Record};
use protocol::command::{DeviceId, Route};
use wallet::{
    Certificate, CertificateBinding, Fingerprint, SecretCertificate, WalletAddress, WalletSignature,
};

/// What a carrier's methods return: a future that lives as long as what it borrows.
pub type Carried<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The cause of an error, whatever the carrier's own type for it is.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// How much of a message's path is hidden from whom.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Privacy {
    /// The entry passes the packet straight on: fastest; it sees the sender's IP and the recipient's key ID.
    Direct,
    /// A relay stands between entry and mailbox: nobody sees both ends.
    #[default]
    Relayed,
}

/// A mailbox's verified word that it keeps a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The mailbox.
    pub node: NodeId,
    /// When it stored the packet, by its clock, Unix milliseconds.
    pub time_ms: u64,
}

/// Why a packet was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The key has been superseded: seal to the certificate in the record, once that has been checked.
    #[error("the recipient's key has been superseded")]
    Superseded(Box<Record>),
    /// The recipient's mailboxes are full.
    #[error("the recipient's mailbox is full: it takes more once they have collected")]
    QueueFull,
    /// It may work later: nodes are busy or out of reach.
    #[error("no mailbox of the recipient can be reached now")]
    Unreachable(#[source] Cause),
    /// It will not work later either.
    #[error("the recipient's mailbox refuses the packet")]
    Refused(#[source] Cause),
}

/// The first attempt to store a packet, made ready by the carrier.
#[derive(Debug)]
pub struct Submission(pub(crate) crate::submit::Submission);

/// Whose certificate is wanted, with what a contact says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The wallet.
    pub wallet: WalletAddress,
    /// The fingerprint that its certificate must have.
    pub fingerprint: Option<Fingerprint>,
    /// Where it may be found if the ledger does not list it, at most three.
    pub mailboxes: Vec<NodeId>,
}

/// A wallet's certificate, checked against its binding, and where its packets go.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The wallet.
    pub wallet: WalletAddress,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its word for the certificate.
    pub binding: CertificateBinding,
    /// Its mailboxes, best first.
    pub mailboxes: Vec<NodeId>,
}

/// Why a wallet's certificate was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookUpError {
    /// Neither the ledger nor a contact says where the wallet's mailbox is, or the mailbox does not know it.
    #[error(
        "nobody knows a mailbox of this wallet: ask its owner for a contact (conet wallet share)"
    )]
    NotFound,
    /// What was found is not what the wallet or the ledger vouches for.
    #[error("the certificate found is not the one that the wallet vouches for")]
    Untrusted(#[source] Cause),
    /// It may work later: nodes are busy or out of reach.
    #[error("no mailbox of this wallet can be reached now")]
    Unreachable(#[source] Cause),
}

/// Why a mailbox did not do what its owner asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The mailbox keeps no account for this certificate (any more).
    #[error("the mailbox has no account of this wallet")]
    NotFound,
    /// The mailbox refuses.
    #[error("the mailbox refuses")]
    Refused(#[source] Cause),
    /// It may work later: nodes are busy or out of reach, or a stream broke.
    #[error("the mailbox can't be reached now")]
    Unreachable(#[source] Cause),
}

/// What proves to a mailbox that its owner asks.
#[derive(Debug, Clone, Copy)]
pub struct OwnerKeys<'a> {
    /// Signs requests and opens challenges.
    pub certificate: &'a SecretCertificate,
    /// The wallet's word for it.
    pub binding: &'a CertificateBinding,
}

/// What to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// From which mailbox.
    pub mailbox: NodeId,
    /// For which device.
    pub device: DeviceId,
    /// After which cursor; `None` resumes after the last acknowledgement.
    pub after: Option<u64>,
    /// Bytes of packets that may be under way unacknowledged.
    pub window_bytes: u32,
    /// Whether to stay for what arrives later.
    pub stay: bool,
}

/// The stream of a mailbox's items.
pub trait Delivery: Send {
    /// The next item; `None` at the orderly end.
    fn next(&mut self) -> Carried<'_, Result<Option<Item>, RequestError>>;
}

/// Carries packets and requests to nodes and their answers back.
///
/// Every method bounds its own time and retries; dropping its future gives up.
pub trait Carrier: Send + Sync {
    /// Waits until enough nodes are known to carry anything.
    fn ready(&self, patience: Duration) -> Carried<'_, Result<(), RequestError>>;

    /// The wallet that a name of the ledger says; none on a carrier without a ledger.
    fn resolve<'a>(&'a self, _name: &'a Name) -> Carried<'a, Result<WalletAddress, ResolveError>> {
        Box::pin(async { Err(ResolveError::Unregistered) })
    }

    /// The nodes that could be mailboxes.
    fn nodes(&self) -> Vec<NodeId>;

    /// Says whether there is such a node, as far as that can be found out.
    fn knows<'a>(&'a self, node: &'a NodeId) -> Carried<'a, bool> {
        Box::pin(async move { self.nodes().contains(node) })
    }

    /// Stores a packet at the first of these mailboxes that takes it.
    fn submit<'a>(
        &'a self,
        packet: &'a Packet,
        mailboxes: &'a [NodeId],
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>>;

    /// Makes ready what [`Carrier::submit_prepared`] sends first for a packet; takes as long as its cryptography. Nothing
    /// leaves by that, and nobody is asked.
    fn prepare(
        &self,
        packet: &Packet,
        mailboxes: &[NodeId],
        privacy: Privacy,
    ) -> Option<Submission> {
        let _nothing_to_prepare = (packet, mailboxes, privacy);
        None
    }

    /// As [`Carrier::submit`], with what was made ready for this very packet.
    fn submit_prepared<'a>(
        &'a self,
        packet: &'a Packet,
        submission: Submission,
        mailboxes: &'a [NodeId],
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>> {
        drop(submission);
        self.submit(packet, mailboxes, privacy)
    }

    /// Stores a packet for a key whose mailbox nobody knows, by a stamped broadcast.
    fn broadcast<'a>(
        &'a self,
        packet: &'a Packet,
        privacy: Privacy,
    ) -> Carried<'a, Result<Stored, SubmitError>>;

    /// What [`Carrier::look_up`] would find without asking anybody; `None` where it would have to ask.
    fn at_hand(&self, target: &Target) -> Option<Resolved> {
        let _nothing_is_kept = target;
        None
    }

    /// Finds and checks a wallet's certificate.
    fn look_up<'a>(&'a self, target: &'a Target) -> Carried<'a, Result<Resolved, LookUpError>>;

    /// Checks the record that came with [`SubmitError::Superseded`] and makes it the wallet's certificate for
    /// look-ups to come.
    fn accept<'a>(
        &'a self,
        target: &'a Target,
        record: Record,
    ) -> Carried<'a, Result<Resolved, LookUpError>>;

    /// Opens an account at a mailbox, or announces a rotated certificate there.
    fn open_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>>;

    /// Has a mailbox put a route on the ledger.
    fn submit_route<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
        route: &'a Route,
        signature: WalletSignature,
    ) -> Carried<'a, Result<(), RequestError>>;

    /// Closes the account at a mailbox; what it keeps is lost.
    fn close_mailbox<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
    ) -> Carried<'a, Result<(), RequestError>>;

    /// Tells a mailbox that everything up to a cursor is in the device's durable inbox.
    fn acknowledge<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        mailbox: NodeId,
        device: DeviceId,
        cursor: u64,
    ) -> Carried<'a, Result<(), RequestError>>;

    /// Begins to collect from a mailbox.
    fn collect<'a>(
        &'a self,
        keys: OwnerKeys<'a>,
        collection: Collection,
    ) -> Carried<'a, Result<Box<dyn Delivery>, RequestError>>;
}
