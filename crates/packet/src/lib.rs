//! Packets: everything that moves through the network is one of these.
//!
//! A packet is a binary OpenPGP message that shows nothing but the ID of the key it is encrypted to.
//! This crate reads that key ID ([`peek`]), makes and opens end-to-end packets ([`seal`], [`open`])
//! and the layers around them ([`seal_layer`], [`open_layer`]), all at the lengths of a few
//! [`SizeClass`]es, and reads what stock OpenPGP clients send.
//!
//! It never touches a socket, a file, a clock or a random number generator of its own, and never
//! compresses. The bytes are specified in `docs/wire-format.md`, sections 3 and 4.
//!
//! ```
//! use packet::{ContentType, Draft, MessageId, Sender, SessionId, Verified};
//! use rand::rngs::OsRng;
//! use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now_s = 1_800_000_000;
//! let alice = WalletKey::generate(&mut OsRng);
//! let alices = SecretCertificate::create(&alice, CertificateKind::V6, now_s, &mut OsRng)?;
//! let binding = CertificateBinding::sign(&alice, alices.certificate(), 1, Vec::new())?;
//! let bob = WalletKey::generate(&mut OsRng);
//! let bobs = SecretCertificate::create(&bob, CertificateKind::V6, now_s, &mut OsRng)?;
//!
//! let draft = Draft {
//!     message_id: MessageId::random(&mut OsRng),
//!     time_ms: now_s * 1_000,
//!     content_type: ContentType::TEXT.to_owned(),
//!     session: SessionId::random(&mut OsRng),
//!     sequence: 0,
//!     reply: None,
//!     body: "hello".into(),
//! };
//! let sender = Sender { wallet: &alice, certificate: &alices, binding: &binding };
//! let packet = packet::seal(&draft, Some(&sender), bobs.certificate(), &mut OsRng)?;
//! assert_eq!(packet.len(), 4_096 - 1_536);
//!
//! let opened = packet::open(packet.as_bytes(), &bobs)?;
//! assert_eq!(opened.envelope.map(|envelope| envelope.body), Some(draft.body));
//! assert_eq!(opened.verified, Verified::Wallet { wallet: alice.address(), binding });
//! # Ok(())
//! # }
//! ```

mod armor;
mod cbor;
mod cleartext;
mod container;
mod content;
mod envelope;
mod framing;
mod layer;
mod message;
mod open;
mod peek;
mod recipient;
mod seal;
mod signing;
mod size;

pub use armor::{ArmorError, MAX_ARMOR_HEAD_BYTES, dearmor, is_armored};
pub use cleartext::{MAX_COMPRESSION_DEPTH, MAX_INFLATED_BYTES, MAX_SIGNATURES};
pub use content::{Chunk, ContentError, ContentType, MAX_NAME_BYTES, MAX_RECEIPT_IDS, Receipt};
pub use envelope::{
    ENVELOPE_VERSION, Envelope, EnvelopeError, MAX_CONTENT_TYPE_BYTES, MAX_PRIMARY_KEY_BYTES,
    ReplyRoute, SenderProof,
};
pub use framing::FramingError;
pub use layer::{LAYER_OVERHEAD_BYTES, open_layer, seal_layer};
pub use message::{MessageId, Packet, PacketError, SessionId, TransferId};
pub use open::{MAX_SESSION_KEYS, OpenError, Opened, Verified, open, open_with};
pub use peek::{HEAD_BYTES, PeekError, Peeked, inspect, peek};
pub use seal::{Draft, SealError, Sender, max_body, seal, seal_bytes_to};
pub use size::{LAYER_BYTES, LAYER_ROOM_BYTES, MAX_LAYERS, MAX_PACKET_BYTES, SizeClass};
