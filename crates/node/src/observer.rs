//! What a node gets to see, told to whoever runs it.
//!
//! A joint for tests: sessions and links are forward secret, so that no recording of the wire shows what
//! reached a node. It gives an operator nothing that they could not read out of their own node's memory; the
//! promises of `docs/security.md` have to hold against it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::NodeId;
use protocol::frame::Header;
use wallet::WalletAddress;

/// Something that a node saw.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Sight<'a> {
    /// Somebody connected.
    Connection {
        /// From where.
        from: SocketAddr,
    },
    /// An exchange was opened.
    Asked {
        /// The client's address.
        by: SocketAddr,
        /// Its frame: header and region.
        frame: &'a [u8],
    },
    /// A frame is about to be sealed for a client.
    Told {
        /// The client's address.
        to: SocketAddr,
        /// The frame: header and region.
        frame: &'a [u8],
    },
    /// A message came to the plain intake.
    Posted {
        /// The client's address.
        by: SocketAddr,
        /// The message as it came.
        message: &'a [u8],
    },
    /// A frame came over a link.
    LinkIn {
        /// The node at its other end.
        peer: NodeId,
        /// The frame's header.
        header: Header,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A frame is about to go over a link.
    LinkOut {
        /// The node at its other end.
        peer: NodeId,
        /// The frame's header.
        header: Header,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A frame came over a client's link.
    ClientIn {
        /// The client's address.
        by: SocketAddr,
        /// The frame's header.
        header: Header,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A frame is about to go over a client's link.
    ClientOut {
        /// The client's address.
        to: SocketAddr,
        /// The frame's header.
        header: Header,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A layer for the node was opened.
    Command {
        /// What is in it: the encoded command.
        content: &'a [u8],
    },
    /// The node gives an answer of its own, before it is sealed for whoever asked.
    Answer {
        /// The encoded answer.
        answer: &'a [u8],
    },
    /// A packet was put on stable storage.
    Stored {
        /// For whom.
        wallet: WalletAddress,
        /// The packet.
        packet: &'a [u8],
    },
}

/// Hears what a node sees, from whatever task sees it: it must be quick.
pub trait Observer: Send + Sync + 'static {
    /// The node saw this.
    fn saw(&self, sight: Sight<'_>);
}

/// The observer, if there is one; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Eyes(Option<Arc<dyn Observer>>);

impl Eyes {
    pub(crate) fn of(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// Tells the observer; a branch and nothing else where there is none.
    #[inline]
    pub(crate) fn see(&self, sight: Sight<'_>) {
        if let Some(observer) = &self.0 {
            observer.saw(sight);
        }
    }
}

impl fmt::Debug for Eyes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Eyes").field(&self.0.is_some()).finish()
    }
}
