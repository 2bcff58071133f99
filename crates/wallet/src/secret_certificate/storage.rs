//! How a secret certificate is stored: one CBOR array.
//!
//! `[version 1, kind, transferable secret key, [time superseded in s …]]`. The OpenPGP structure holds the
//! primary key, the current subkeys and then the superseded, of which the last element gives the times.

use minicbor::{Decoder, Encoder};
use pgp::composed::{Deserializable, SignedSecretKey};
use pgp::packet::{Packet, PacketParser, SecretSubkey};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PlainSecretParams, PublicParams, SecretParams};
use zeroize::Zeroizing;

use super::{
    MAX_SECRET_CERTIFICATE_BYTES, MAX_SUPERSEDED_SUBKEYS, SecretCertificate,
    SecretCertificateError, SupersededSubkey, issuing, public_part,
};
use crate::CertificateKind;

/// The version of the stored form.
const FORMAT_VERSION: u32 = 1;

/// Room for the CBOR around the OpenPGP structure: heads, and 9 bytes for each time.
const ENVELOPE_BYTES: usize = 64 + 9 * MAX_SUPERSEDED_SUBKEYS;

/// Primary key, user ID and few signatures, then two packets for each subkey.
const MAX_PACKETS: usize = 16 + 2 * (MAX_SUPERSEDED_SUBKEYS + crate::MAX_SUBKEYS);

impl SecretCertificate {
    /// All secrets and what belongs to them, to be stored encrypted by the caller.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let transferable = self.transferable();
        let length = transferable.write_len();
        let mut openpgp = Zeroizing::new(Vec::with_capacity(length));
        #[expect(clippy::expect_used, reason = "writing to a Vec does not fail")]
        transferable
            .to_writer(&mut *openpgp)
            .expect("a certificate that was read or made can be written");

        // With the room reserved at once, no half-written secret stays behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(openpgp.len() + ENVELOPE_BYTES));
        #[expect(clippy::expect_used, reason = "writing to a Vec does not fail")]
        self.encode(&mut bytes, &openpgp)
            .expect("writing to memory");
        bytes
    }

    fn encode(
        &self,
        bytes: &mut Vec<u8>,
        openpgp: &[u8],
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let mut encoder = Encoder::new(bytes);
        encoder
            .array(4)?
            .u32(FORMAT_VERSION)?
            .u8(kind_number(self.kind))?
            .bytes(openpgp)?
            .array(self.superseded.len() as u64)?;
        for subkey in &self.superseded {
            encoder.u64(subkey.since_s)?;
        }
        Ok(())
    }

    /// Reads what [`SecretCertificate::to_bytes`] wrote, and checks it as any certificate is checked.
    ///
    /// # Errors
    /// [`SecretCertificateError`] for damaged, oversized or newer data.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretCertificateError> {
        if bytes.len() > MAX_SECRET_CERTIFICATE_BYTES {
            return Err(SecretCertificateError::TooLarge);
        }
        let stored = Stored::decode(bytes)?;
        let openpgp = read_transferable(stored.openpgp)?;
        let count = openpgp
            .secret_subkeys
            .len()
            .checked_sub(stored.superseded_since_s.len())
            .ok_or(SecretCertificateError::Inconsistent)?;
        openpgp
            .verify_bindings()
            .map_err(SecretCertificateError::OpenPgp)?;

        if !openpgp.secret_subkeys.iter().all(|subkey| fits(subkey)) {
            return Err(SecretCertificateError::Inconsistent);
        }

        let SignedSecretKey {
            primary_key: primary,
            details,
            secret_subkeys: mut current,
            public_subkeys,
        } = openpgp;
        if !public_subkeys.is_empty() {
            return Err(SecretCertificateError::Inconsistent);
        }
        let old = current.split_off(count);
        let superseded = stored
            .superseded_since_s
            .into_iter()
            .zip(old)
            .map(|(since_s, secret)| SupersededSubkey::new(since_s, secret))
            .collect::<Result<_, _>>()?;
        let certificate = public_part(&primary, &details, &current)?;
        let signing = signing_key(&primary)?;
        if signing.verifying_key().to_bytes() != certificate.primary_ed25519() {
            return Err(SecretCertificateError::Inconsistent);
        }
        let algorithms = certificate.subkeys().iter().map(|subkey| subkey.algorithm);
        if !algorithms.eq(issuing::algorithms(stored.kind).iter().copied()) {
            return Err(SecretCertificateError::Inconsistent);
        }
        let read = Self {
            kind: stored.kind,
            primary,
            signing,
            details,
            current,
            superseded,
            certificate,
        };
        // The OpenPGP library drops parts that it finds unsigned; here that is damage.
        if read.to_bytes().as_slice() != bytes {
            return Err(SecretCertificateError::Inconsistent);
        }
        Ok(read)
    }
}

/// The stored form, its OpenPGP structure not yet read.
struct Stored<'a> {
    kind: CertificateKind,
    openpgp: &'a [u8],
    superseded_since_s: Vec<u64>,
}

impl<'a> Stored<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, SecretCertificateError> {
        let mut decoder = Decoder::new(bytes);
        decoder.array().map_err(SecretCertificateError::Malformed)?;
        let version = decoder.u32().map_err(SecretCertificateError::Malformed)?;
        if version != FORMAT_VERSION {
            return Err(SecretCertificateError::UnknownVersion(version));
        }
        Self::decode_fields(&mut decoder).map_err(SecretCertificateError::Malformed)
    }

    fn decode_fields(decoder: &mut Decoder<'a>) -> Result<Self, minicbor::decode::Error> {
        let kind = kind_of_number(decoder.u8()?)
            .ok_or_else(|| minicbor::decode::Error::message("unknown kind of certificate"))?;
        let openpgp = decoder.bytes()?;
        let count = decoder.array()?;
        let count = count
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= MAX_SUPERSEDED_SUBKEYS)
            .ok_or_else(|| minicbor::decode::Error::message("too many superseded subkeys"))?;
        let superseded_since_s = (0..count)
            .map(|_| decoder.u64())
            .collect::<Result<_, _>>()?;
        if decoder.position() != decoder.input().len() {
            return Err(minicbor::decode::Error::message("trailing bytes"));
        }
        Ok(Self {
            kind,
            openpgp,
            superseded_since_s,
        })
    }
}

fn read_transferable(bytes: &[u8]) -> Result<SignedSecretKey, SecretCertificateError> {
    let mut packets = Vec::new();
    for packet in PacketParser::new(bytes) {
        let packet = packet.map_err(SecretCertificateError::OpenPgp)?;
        let belongs = match &packet {
            Packet::SecretKey(key) => packets.is_empty() && is_plain(key.secret_params()),
            Packet::SecretSubkey(key) => is_plain(key.secret_params()),
            Packet::Signature(_) | Packet::UserId(_) => true,
            _ => false,
        };
        if !belongs || packets.len() == MAX_PACKETS {
            return Err(SecretCertificateError::Inconsistent);
        }
        packets.push(packet);
    }
    SignedSecretKey::from_packets(packets.into_iter().map(Ok).peekable())
        .next()
        .ok_or(SecretCertificateError::Inconsistent)?
        .map_err(SecretCertificateError::OpenPgp)
}

/// Whether the secret of a subkey is that of its public key; version 6 keys have no checksum of their own.
fn fits(subkey: &SecretSubkey) -> bool {
    let SecretParams::Plain(plain) = subkey.secret_params() else {
        return false;
    };
    let public = match plain {
        PlainSecretParams::X25519(secret) => PublicParams::X25519(secret.into()),
        PlainSecretParams::MlKem768X25519(secret) => PublicParams::MlKem768X25519(secret.into()),
        PlainSecretParams::ECDH(secret) => match secret.try_into() {
            Ok(public) => PublicParams::ECDH(public),
            Err(_) => return false,
        },
        _ => return false,
    };
    public == *subkey.public_params()
}

fn is_plain(params: &SecretParams) -> bool {
    matches!(params, SecretParams::Plain(_))
}

fn signing_key(
    primary: &pgp::packet::SecretKey,
) -> Result<ed25519_dalek::SigningKey, SecretCertificateError> {
    let SecretParams::Plain(plain) = primary.secret_params() else {
        return Err(SecretCertificateError::Inconsistent);
    };
    match plain {
        PlainSecretParams::Ed25519(key)
        | PlainSecretParams::EdDSALegacy(pgp::crypto::eddsa_legacy::SecretKey::Ed25519(key)) => {
            Ok(ed25519_dalek::SigningKey::from_bytes(key.as_bytes()))
        }
        _ => Err(SecretCertificateError::Inconsistent),
    }
}

const fn kind_number(kind: CertificateKind) -> u8 {
    match kind {
        CertificateKind::V6 => 0,
        CertificateKind::V6Classic => 1,
        CertificateKind::V4 => 2,
    }
}

const fn kind_of_number(number: u8) -> Option<CertificateKind> {
    match number {
        0 => Some(CertificateKind::V6),
        1 => Some(CertificateKind::V6Classic),
        2 => Some(CertificateKind::V4),
        _ => None,
    }
}
