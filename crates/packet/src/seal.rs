//! Seal: makes end-to-end packets of an exact size class, and small packets to one given subkey.

use bytes::{Bytes, BytesMut};
use rand::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wallet::{
    Certificate, CertificateBinding, Fingerprint, KeyId, MAX_MAILBOXES, MAX_SUBKEYS,
    SecretCertificate, WalletKey,
    typed_data::{self, Domain, StructHash},
};

use crate::{
    cleartext::{self, LITERAL_OVERHEAD_BYTES},
    envelope::{Fields, MAX_CONTENT_TYPE_BYTES, MAX_PRIMARY_KEY_BYTES, ReplyRoute, SenderProof},
    framing::{HEADER_BYTES, tag},
    message::{MessageId, Packet, PacketError, SessionId},
    recipient::{Length, Recipient},
    signing::{self, MAX_SIGNATURE_PACKETS_BYTES},
    size::SizeClass,
};

/// Who seals a message: wallet, certificate and what binds them.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Signs the message (EIP-712).
    pub wallet: &'a WalletKey,
    /// Signs the envelope (OpenPGP).
    pub certificate: &'a SecretCertificate,
    /// Shows that the two belong together.
    pub binding: &'a CertificateBinding,
}

/// A message before it is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Names the message; random.
    pub message_id: MessageId,
    /// Now, Unix milliseconds.
    pub time_ms: u64,
    /// What the body is, see [`ContentType`](crate::ContentType); at most 64 bytes.
    pub content_type: String,
    /// The sending session.
    pub session: SessionId,
    /// Place in that session, from 0, per recipient.
    pub sequence: u64,
    /// Where an answer can go; at most three mailboxes.
    pub reply: Option<ReplyRoute>,
    /// The content.
    pub body: Bytes,
}

/// Why nothing could be sealed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// What is to be sealed needs more bytes than there are.
    #[error("needs {needed} bytes where {length} are allowed")]
    TooLong {
        /// Bytes that the packet would have at least.
        needed: usize,
        /// Bytes that it may have.
        length: usize,
    },
    /// The content type is longer than [`MAX_CONTENT_TYPE_BYTES`].
    #[error("content type is longer than {MAX_CONTENT_TYPE_BYTES} bytes")]
    ContentTypeTooLong,
    /// The reply route names more than [`MAX_MAILBOXES`] mailboxes.
    #[error("reply route names more than {MAX_MAILBOXES} mailboxes")]
    TooManyMailboxes,
    /// The sender's wallet, certificate and binding do not belong together.
    #[error("binding is not that of the sender's wallet and certificate")]
    ForeignBinding,
    /// The time can't be written in an OpenPGP signature, which ends in 2106.
    #[error("time is beyond what an OpenPGP signature can hold")]
    TimeOutOfRange,
    /// The certificate has no subkey with this ID.
    #[error("certificate has no encryption subkey {0}")]
    UnknownSubkey(KeyId),
    /// The certificate is not one that a layer can be sealed to.
    #[error("certificate does not support what a node's must")]
    NotANode,
    /// The AEAD cipher failed.
    #[error("cleartext can't be encrypted")]
    Cipher,
    /// OpenPGP failed to encrypt or sign.
    #[error("packet can't be made")]
    OpenPgp(#[source] pgp::errors::Error),
    /// What was made is no packet.
    #[error("sealed bytes are no packet")]
    Packet(#[source] PacketError),
}

/// Seals a message to the recipient's preferred subkey, at the length of the smallest class that
/// holds it; without a sender the message is anonymous.
///
/// The recipient's certificate must be known to be current, and its wallet's: nothing here looks
/// that up.
///
/// # Errors
///
/// [`SealError::TooLong`] if the message needs to be cut into chunks ([`max_body`] says how large),
/// otherwise what is wrong with the draft or the sender.
pub fn seal(
    draft: &Draft,
    sender: Option<&Sender<'_>>,
    recipient: &Certificate,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Packet, SealError> {
    draft.check()?;
    let created_s = draft.signature_time()?;
    let proof = sender
        .map(|sender| sender.prove(draft, recipient.fingerprint()))
        .transpose()?;
    let fields = draft.fields(proof.as_ref());
    let mut envelope = Vec::with_capacity(draft.body.len() + MAX_ENVELOPE_OVERHEAD_BYTES);
    fields.encode_into(&mut envelope);

    // Room for all that follows: the cleartext never moves while it grows.
    let room = envelope.len() + MAX_SIGNATURE_PACKETS_BYTES + LITERAL_OVERHEAD_BYTES;
    let padded = room + Recipient::end_to_end(recipient).overhead_bytes() + HEADER_BYTES;
    let capacity = SizeClass::for_packet_len(padded).map_or(room, SizeClass::frame_bytes);
    let mut cleartext = BytesMut::with_capacity(capacity);
    match sender {
        Some(sender) => {
            let signed = signing::sign(
                &envelope,
                sender.certificate,
                recipient.fingerprint(),
                created_s,
                rng,
            )
            .map_err(SealError::OpenPgp)?;
            cleartext::put_packet(
                &mut cleartext,
                tag::ONE_PASS_SIGNATURE,
                &signed.announcement,
            )
            .map_err(SealError::OpenPgp)?;
            cleartext::put_literal(&mut cleartext, &envelope);
            cleartext::put_packet(&mut cleartext, tag::SIGNATURE, &signed.signature)
                .map_err(SealError::OpenPgp)?;
        }
        None => cleartext::put_literal(&mut cleartext, &envelope),
    }
    Recipient::end_to_end(recipient).encrypt(cleartext, Length::SmallestClass, rng)
}

/// Bytes of an envelope of ours beyond its body, at most: all optional fields there and at their
/// longest.
const MAX_ENVELOPE_OVERHEAD_BYTES: usize = {
    // Array head, version, id, time, content type, session, sequence, body's head.
    let fixed = 1 + 1 + 17 + 9 + (2 + MAX_CONTENT_TYPE_BYTES) + 9 + 9 + 5;
    let mailboxes = 1 + 21 * MAX_MAILBOXES;
    let fingerprint = 2 + 32;
    let reply = 1 + fingerprint + mailboxes;
    let binding = 1 + 21 + fingerprint + 9 + 1 + fingerprint * MAX_SUBKEYS + mailboxes + 67;
    let sender = 1 + binding + (2 + MAX_OWN_PRIMARY_KEY_BYTES) + 67;
    fixed + reply + sender
};

/// Longest body of a Public-Key packet that a certificate of ours has: Ed25519 in its legacy form.
const MAX_OWN_PRIMARY_KEY_BYTES: usize = 64;
const _: () = assert!(MAX_OWN_PRIMARY_KEY_BYTES <= MAX_PRIMARY_KEY_BYTES);

/// How many bytes of body surely fit into a packet of a class, whatever the other fields hold.
///
/// What to cut larger data by: a body of at most that length always seals into `class` or a smaller
/// one. 0 where the class has no room to spare.
pub fn max_body(recipient: &Certificate, signed: bool, class: SizeClass) -> usize {
    let signature = if signed {
        MAX_SIGNATURE_PACKETS_BYTES
    } else {
        0
    };
    let overhead = Recipient::end_to_end(recipient).overhead_bytes()
        + HEADER_BYTES
        + LITERAL_OVERHEAD_BYTES
        + signature
        + MAX_ENVELOPE_OVERHEAD_BYTES;
    class.packet_bytes().saturating_sub(overhead)
}

/// Seals bytes, unsigned and without envelope, to one given subkey; to the preferred one if none is
/// given.
///
/// With `exact_length` the packet gets padding and is exactly that long. Nodes use it for mailbox
/// challenges.
///
/// # Errors
///
/// [`SealError::UnknownSubkey`] if the certificate has no such subkey, [`SealError::TooLong`] if the
/// bytes don't fit.
pub fn seal_bytes_to(
    recipient: &Certificate,
    key_id: Option<KeyId>,
    body: &[u8],
    exact_length: Option<usize>,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Packet, SealError> {
    let recipient = match key_id {
        Some(key_id) => Recipient::subkey(recipient, &key_id)?,
        None => Recipient::end_to_end(recipient),
    };
    let length = exact_length.map_or(Length::Unpadded, Length::Exactly);
    seal_literal(&recipient, body, length, rng)
}

/// Seals a literal and nothing else.
pub(crate) fn seal_literal(
    recipient: &Recipient<'_>,
    body: &[u8],
    length: Length,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Packet, SealError> {
    let capacity = match length {
        Length::Exactly(exact) => exact.min(SizeClass::M1.frame_bytes()),
        Length::SmallestClass | Length::Unpadded => {
            body.len() + LITERAL_OVERHEAD_BYTES + 2 * HEADER_BYTES
        }
    };
    let mut cleartext = BytesMut::with_capacity(capacity);
    cleartext::put_literal(&mut cleartext, body);
    recipient.encrypt(cleartext, length, rng)
}

impl Draft {
    fn check(&self) -> Result<(), SealError> {
        if self.content_type.len() > MAX_CONTENT_TYPE_BYTES {
            return Err(SealError::ContentTypeTooLong);
        }
        let mailboxes = self.reply.as_ref().map_or(0, |reply| reply.mailboxes.len());
        if mailboxes > MAX_MAILBOXES {
            return Err(SealError::TooManyMailboxes);
        }
        Ok(())
    }

    /// The time in seconds, as an OpenPGP signature holds it.
    fn signature_time(&self) -> Result<u32, SealError> {
        u32::try_from(self.time_ms / 1_000).map_err(|_| SealError::TimeOutOfRange)
    }

    fn fields<'a>(&'a self, sender: Option<&'a SenderProof>) -> Fields<'a> {
        Fields {
            message_id: self.message_id,
            time_ms: self.time_ms,
            content_type: &self.content_type,
            session: self.session,
            sequence: self.sequence,
            reply: self.reply.as_ref(),
            sender,
            body: &self.body,
        }
    }
}

impl Sender<'_> {
    /// Makes the proof that this wallet sends this message to this recipient.
    fn prove(&self, draft: &Draft, recipient: Fingerprint) -> Result<SenderProof, SealError> {
        let own = self.certificate.certificate().fingerprint();
        if self.binding.fingerprint != own || self.binding.wallet != self.wallet.address() {
            return Err(SealError::ForeignBinding);
        }
        let primary_key = pgp::ser::Serialize::to_bytes(self.certificate.primary().public_key())
            .map_err(SealError::OpenPgp)?;
        let hash = message_hash(own, recipient, &draft.fields(None));
        Ok(SenderProof {
            binding: self.binding.clone(),
            primary_key,
            signature: self.wallet.sign_hash(&hash),
        })
    }
}

/// The hash that the sender's wallet signs (EIP-712; `docs/wire-format.md`, section 3.5).
pub(crate) fn message_hash(
    sender: Fingerprint,
    recipient: Fingerprint,
    message: &Fields<'_>,
) -> [u8; 32] {
    let domain = Domain::new("CONET", "1");
    let message = StructHash::new(
        "Message(bytes sender,bytes recipient,bytes16 id,uint64 time,string contentType,\
         bytes8 session,uint64 sequence,bytes32 body)",
    )
    .bytes(sender.as_bytes())
    .bytes(recipient.as_bytes())
    .fixed_bytes(message.message_id.as_bytes())
    .uint64(message.time_ms)
    .string(message.content_type)
    .fixed_bytes(message.session.as_bytes())
    .uint64(message.sequence)
    .bytes32(&Sha256::digest(message.body).into());
    typed_data::digest(&domain, &message)
}
