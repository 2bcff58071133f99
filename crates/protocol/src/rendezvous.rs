//! How callers and publishers of a service find each other at its mailbox (`docs/wire-format.md`, 12).
//!
//! A *publisher* asks the mailbox for offers of streams to the services it serves. A *caller* comes with a circuit and an
//! offer, which only the service's wallet can read. The mailbox hands the offer to a publisher, who comes with a circuit of
//! its own, and joins the two blind.

use core::fmt;

use sha2::{Digest as _, Sha256};
use wallet::WalletAddress;

use crate::target::Target;

/// Services that one publisher serves over one request, at most.
pub const MAX_SERVICE_TAGS: usize = 64;
/// An offer at most, in bytes: an end-to-end packet of the second class.
pub const MAX_OFFER_BYTES: usize = 16_384 - 1_536;

/// What tells the services of a wallet apart to its mailbox: 16 bytes of a hash.
///
/// The mailbox knows the wallet, and can guess what a tag stands for by trying names and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceTag([u8; 16]);

/// Names an offer to the publisher who gets it: 16 random bytes of the mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MeetingToken([u8; 16]);

impl ServiceTag {
    /// The tag of the service that callers reach as `target`: a `.conet` name and a port.
    #[must_use]
    pub fn new(wallet: &WalletAddress, target: &Target) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"conet/service/1\0");
        hash.update(wallet.as_bytes());
        hash.update(target.to_string().as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let [tag @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
        Self(tag)
    }

    /// A tag of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl MeetingToken {
    /// A token of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for MeetingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever knows it could join.
        f.write_str("MeetingToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_the_one_of_the_page_and_differs_by_wallet_name_and_port() {
        let wallet = WalletAddress::from_bytes([0x11; 20]);
        let tag = |text: &str| ServiceTag::new(&wallet, &text.parse().unwrap());
        let shop = tag("shop.conet:80");
        assert_eq!(tag("Shop.CONET.:80"), shop);
        let other = WalletAddress::from_bytes([0x12; 20]);
        let others = [
            tag("shop.conet:81"),
            tag("shoq.conet:80"),
            ServiceTag::new(&other, &"shop.conet:80".parse().unwrap()),
        ];
        assert!(others.iter().all(|other| *other != shop));
        let hex: String = shop.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "35c66b69388a5386b7ae5f6814b2d82e");
    }
}
