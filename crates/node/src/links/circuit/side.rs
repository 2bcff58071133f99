//! Where an end of a circuit lies, and handing on what is for it.

use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use protocol::frame::Header;
use streams::CircuitEvent;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::{Circuit, Whose};
use crate::links::accept::Serving;
use crate::links::dial;
use crate::links::queue::{NotQueued, Queue};
use crate::rendezvous::Pairing;

/// Where an end lies.
pub(super) enum Side {
    /// Nobody knows yet; what is for it waits, no more than the first credit.
    Unknown {
        data: Vec<Bytes>,
        granted: u32,
        /// Tells whoever looks for the other end that the circuit is over.
        sought: Option<DropGuard>,
    },
    /// Beyond a link that another node or a client dialled.
    Accepted(Weak<Serving>, u64),
    /// Beyond a link that this node dialled.
    /// Circuits keep the link up, though it be asked for nothing new.
    Dialled(Arc<dial::Shared>, u64),
    /// Beyond the asker of another circuit, whose far end lies beyond this one's. A ring, until one of the two is closed.
    Joined(
        Arc<Circuit>,
        #[expect(dead_code, reason = "counts until it is dropped")] Pairing,
    ),
    /// This node.
    Here(mpsc::UnboundedSender<CircuitEvent>),
    Closed,
}

impl Side {
    /// The circuit that it is joined to.
    pub(super) fn joined(&self) -> Option<Arc<Circuit>> {
        match self {
            Self::Joined(circuit, _) => Some(Arc::clone(circuit)),
            _ => None,
        }
    }

    /// Hands data on; those for a joined circuit are carried by that itself.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), NotQueued> {
        match self {
            Self::Unknown { data, .. } => {
                data.push(Bytes::copy_from_slice(bytes));
                Ok(())
            }
            Self::Accepted(serving, request) => match serving.upgrade() {
                Some(serving) => serving.queue().data(Header::data(*request, 0), bytes),
                None => Err(NotQueued::Ended),
            },
            Self::Dialled(link, request) => link.queue().data(Header::data(*request, 0), bytes),
            Self::Here(to) => {
                let frame = CircuitEvent::Frame(BytesMut::from(bytes));
                to.send(frame).map_err(|_| NotQueued::Ended)
            }
            // Whoever closed it was told, or told us.
            Self::Joined(..) | Self::Closed => Ok(()),
        }
    }

    /// Hands credit on; that for a joined circuit is granted by that itself.
    pub(super) fn grant(&mut self, bytes: u32) {
        match self {
            Self::Unknown { granted, .. } => *granted = granted.saturating_add(bytes),
            Self::Accepted(serving, request) => {
                if let Some(serving) = serving.upgrade() {
                    serving.queue().insist(Header::credit(*request, bytes));
                }
            }
            Self::Dialled(link, request) => {
                link.queue().insist(Header::credit(*request, bytes));
            }
            Self::Here(to) => {
                let _gone = to.send(CircuitEvent::Credit(bytes));
            }
            Self::Joined(..) | Self::Closed => {}
        }
    }

    /// What is for it waits here.
    pub(super) fn queue(&self) -> Option<Queue> {
        match self {
            Self::Accepted(serving, _) => Some(serving.upgrade()?.queue().clone()),
            Self::Dialled(link, _) => Some(link.queue().clone()),
            _ => None,
        }
    }

    /// Tells whoever is there that the circuit is over.
    pub(super) fn tell(self, answer: &[u8]) {
        match self {
            Self::Accepted(serving, request) => {
                if let Some(serving) = serving.upgrade() {
                    serving.end_circuit(request, answer);
                }
            }
            Self::Dialled(link, request) => link.cancel(request),
            Self::Joined(circuit, _) => circuit.close(Whose::Asked, None),
            // Dropped: that closes it.
            Self::Here(_) | Self::Unknown { .. } | Self::Closed => {}
        }
    }
}
