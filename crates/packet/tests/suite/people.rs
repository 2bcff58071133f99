//! People with wallets, and a second way to make and take apart what is encrypted.

use bytes::Bytes;
use packet::{ContentType, Draft, Envelope, MessageId, Opened, Packet, Sender, SessionId};
use pgp::{
    composed::{PlainSessionKey, RawSessionKey},
    crypto::{
        aead::{AeadAlgorithm, ChunkSize},
        hash::HashAlgorithm,
        sym::SymmetricKeyAlgorithm,
    },
    packet::{
        OnePassSignature, Packet as PgpPacket, PacketParser, PacketTrait,
        PublicKeyEncryptedSessionKey, SignatureConfig, SignatureType, SignatureVersionSpecific,
        Subpacket, SubpacketData, SymEncryptedProtectedData,
    },
    types::{
        DecryptionKey, EskType, Fingerprint as PgpFingerprint, KeyDetails, KeyVersion, Password,
        Seipdv1ReadMode, Timestamp,
    },
};
use proptest::test_runner::Config as ProptestConfig;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use wallet::{
    Certificate, CertificateBinding, CertificateKind, Fingerprint, SecretCertificate, WalletKey,
};

pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const KINDS: [CertificateKind; 3] = [
    CertificateKind::V6,
    CertificateKind::V6Classic,
    CertificateKind::V4,
];

pub(crate) struct Person {
    pub(crate) wallet: WalletKey,
    pub(crate) secret: SecretCertificate,
    pub(crate) binding: CertificateBinding,
}

/// As many cases of a slow property as `most`, or as `PROPTEST_CASES` says if that is fewer.
pub(crate) fn cases(most: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked = asked.and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.map_or(most, |asked| most.min(asked)))
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

impl Person {
    pub(crate) fn new(seed: u64, kind: CertificateKind) -> Self {
        let rng = &mut rng(seed);
        let wallet = WalletKey::generate(rng);
        let secret = SecretCertificate::create(&wallet, kind, NOW_S, rng).unwrap();
        let mailboxes = (0..3).map(|n| [n; 20].into()).collect();
        let binding =
            CertificateBinding::sign(&wallet, secret.certificate(), 1, mailboxes).unwrap();
        Self {
            wallet,
            secret,
            binding,
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        self.secret.certificate()
    }

    pub(crate) fn sender(&self) -> Sender<'_> {
        Sender {
            wallet: &self.wallet,
            certificate: &self.secret,
            binding: &self.binding,
        }
    }

    pub(crate) fn seal(&self, draft: &Draft, recipient: &Certificate) -> Packet {
        packet::seal(draft, Some(&self.sender()), recipient, &mut rng(99)).unwrap()
    }

    pub(crate) fn open(&self, packet: &Packet) -> Opened {
        packet::open(packet.as_bytes(), &self.secret).unwrap()
    }
}

pub(crate) fn draft(body: impl Into<Bytes>) -> Draft {
    Draft {
        message_id: MessageId::from_bytes([7; 16]),
        time_ms: NOW_S * 1_000 + 5,
        content_type: ContentType::TEXT.to_owned(),
        session: SessionId::from_bytes([9; 8]),
        sequence: 3,
        reply: None,
        body: body.into(),
    }
}

/// Decrypts a packet by rPGP's own packet types and returns the bare cleartext.
pub(crate) fn strip(packet: &[u8], me: &SecretCertificate) -> Vec<u8> {
    let mut packets = PacketParser::new(packet);
    let Some(Ok(PgpPacket::PublicKeyEncryptedSessionKey(session))) = packets.next() else {
        panic!("no session key");
    };
    let Some(Ok(PgpPacket::SymEncryptedProtectedData(data))) = packets.next() else {
        panic!("no container");
    };
    assert!(packets.next().is_none(), "one PKESK and one SEIPD");
    let key_id = packet::peek(packet).unwrap();
    let subkey = me.secret_subkey(&key_id).unwrap();
    let kind = match session {
        PublicKeyEncryptedSessionKey::V6 { .. } => EskType::V6,
        _ => EskType::V3_4,
    };
    let key = subkey
        .key
        .decrypt(&Password::empty(), session.values().unwrap(), kind)
        .unwrap()
        .unwrap();
    let (key, cipher) = match &key {
        PlainSessionKey::V3_4 { key, sym_alg } => (key, Some(*sym_alg)),
        PlainSessionKey::V6 { key } => (key, None),
        PlainSessionKey::V5 { .. } => panic!("version 5 is gpg's"),
    };
    data.decrypt(key.as_ref(), cipher, Seipdv1ReadMode::default())
        .unwrap()
}

/// Encrypts a bare cleartext by rPGP's own packet types, in small chunks of OCB.
pub(crate) fn wrap(cleartext: &[u8], to: &Certificate) -> Vec<u8> {
    wrap_as(cleartext, to, AeadAlgorithm::Ocb, ChunkSize::C64B)
}

pub(crate) fn wrap_as(
    cleartext: &[u8],
    to: &Certificate,
    mode: AeadAlgorithm,
    chunk_size: ChunkSize,
) -> Vec<u8> {
    let cipher = SymmetricKeyAlgorithm::AES256;
    let key = RawSessionKey::from([5; 32].as_slice());
    let subkey = to.end_to_end_subkey();
    let mut packet = Vec::new();
    if to.supports_seipd_v2() {
        PublicKeyEncryptedSessionKey::from_session_key_v6(rng(1), &key, subkey)
            .unwrap()
            .to_writer_with_header(&mut packet)
            .unwrap();
        SymEncryptedProtectedData::encrypt_seipdv2(
            rng(2),
            cipher,
            mode,
            chunk_size,
            key.as_ref(),
            cleartext,
        )
    } else {
        PublicKeyEncryptedSessionKey::from_session_key_v3(rng(1), &key, cipher, subkey)
            .unwrap()
            .to_writer_with_header(&mut packet)
            .unwrap();
        SymEncryptedProtectedData::encrypt_seipdv1(rng(2), cipher, key.as_ref(), cleartext)
    }
    .unwrap()
    .to_writer_with_header(&mut packet)
    .unwrap();
    packet
}

/// A literal as this network writes it, by hand.
pub(crate) fn literal(body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xcb, 0xff];
    packet.extend_from_slice(&(body.len() as u32 + 6).to_be_bytes());
    packet.extend_from_slice(b"b\0\0\0\0\0");
    packet.extend_from_slice(body);
    packet
}

/// How a forger signs.
pub(crate) struct Signing<'a> {
    pub(crate) signer: &'a SecretCertificate,
    pub(crate) recipient: Option<Fingerprint>,
    pub(crate) hash: HashAlgorithm,
    pub(crate) kind: SignatureType,
}

impl<'a> Signing<'a> {
    pub(crate) fn honest(signer: &'a SecretCertificate, recipient: &Certificate) -> Self {
        Self {
            signer,
            recipient: Some(recipient.fingerprint()),
            hash: HashAlgorithm::Sha512,
            kind: SignatureType::Binary,
        }
    }

    /// One-pass signature, literal of `shown`, signature over `signed`.
    pub(crate) fn cleartext(&self, shown: &[u8], signed: &[u8]) -> Vec<u8> {
        let (announcement, signature) = self.packets(signed);
        [announcement, literal(shown), signature].concat()
    }

    /// The announcing packet and the signature packet.
    pub(crate) fn packets(&self, signed: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let key = self.signer.primary();
        let mut config = if key.version() == KeyVersion::V6 {
            SignatureConfig::v6(rng(3), self.kind, key.algorithm(), self.hash).unwrap()
        } else {
            SignatureConfig::v4(self.kind, key.algorithm(), self.hash)
        };
        let created = Timestamp::from_secs(NOW_S as u32);
        let mut subpackets = vec![
            SubpacketData::SignatureCreationTime(created),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
        ];
        if let Some(recipient) = self.recipient {
            let recipient = match recipient {
                Fingerprint::V4(bytes) => PgpFingerprint::V4(bytes),
                Fingerprint::V6(bytes) => PgpFingerprint::V6(bytes),
            };
            subpackets.push(SubpacketData::IntendedRecipientFingerprint(recipient));
        }
        config.hashed_subpackets = subpackets
            .into_iter()
            .map(|data| Subpacket::regular(data).unwrap())
            .collect();
        let announcement = match (&config.version_specific, key.fingerprint()) {
            (SignatureVersionSpecific::V6 { salt }, PgpFingerprint::V6(fingerprint)) => {
                OnePassSignature::v6(
                    self.kind,
                    self.hash,
                    key.algorithm(),
                    salt.clone(),
                    fingerprint,
                )
            }
            _ => OnePassSignature::v3(self.kind, self.hash, key.algorithm(), key.legacy_key_id()),
        };
        let signature = config.sign(key, &Password::empty(), signed).unwrap();
        (with_header(&announcement), with_header(&signature))
    }
}

pub(crate) fn with_header(packet: &impl PacketTrait) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.to_writer_with_header(&mut bytes).unwrap();
    bytes
}

/// The envelope inside a packet, as its recipient reads it.
pub(crate) fn envelope_of(packet: &Packet, me: &Person) -> Envelope {
    me.open(packet).envelope.unwrap()
}
