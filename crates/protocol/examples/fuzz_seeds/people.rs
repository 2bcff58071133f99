//! Those who write and read the seeds. The fuzz targets make their recipients the same way.

use std::error::Error;

use bytes::Bytes;
use packet::{Draft, MessageId, Sender, SessionId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

pub(crate) const NOW_S: u64 = 1_800_000_000;

/// The recipient of the targets `open` and `sealed_inside`.
pub(crate) const RECIPIENT: u64 = 1;
/// Who signs.
pub(crate) const SIGNER: u64 = 3;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) struct Person {
    pub(crate) wallet: WalletKey,
    pub(crate) secret: SecretCertificate,
    pub(crate) binding: CertificateBinding,
}

impl Person {
    pub(crate) fn new(seed: u64, kind: CertificateKind) -> Result<Self, Box<dyn Error>> {
        let rng = &mut rng(seed);
        let wallet = WalletKey::generate(rng);
        let secret = SecretCertificate::create(&wallet, kind, NOW_S, rng)?;
        let mailboxes = (0..3).map(|n| [n; 20].into()).collect();
        let binding = CertificateBinding::sign(&wallet, secret.certificate(), 1, mailboxes)?;
        Ok(Self {
            wallet,
            secret,
            binding,
        })
    }

    pub(crate) fn sender(&self) -> Sender<'_> {
        Sender {
            wallet: &self.wallet,
            certificate: &self.secret,
            binding: &self.binding,
        }
    }
}

pub(crate) fn draft(content_type: &str, body: impl Into<Bytes>) -> Draft {
    Draft {
        message_id: MessageId::from_bytes([7; 16]),
        time_ms: NOW_S * 1_000 + 5,
        content_type: content_type.to_owned(),
        session: SessionId::from_bytes([9; 8]),
        sequence: 3,
        reply: None,
        body: body.into(),
    }
}
