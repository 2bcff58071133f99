//! Wallets with accounts at a mailbox, and what they ask of it.

use anyhow::{Context as _, Result};
use client::carrier::OwnerKeys;
use packet::{Packet, SizeClass};
use protocol::answer::AnswerKey;
use protocol::command::{Body, Command, Request, Ties, owner_message};
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::task::JoinSet;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletAddress, WalletKey};

use crate::world::{Spot, World};

/// Devices of a wallet that a mailbox tells apart.
pub(crate) const DEVICES: usize = 8;
/// Accounts that are opened at the same time.
const AT_ONCE: usize = 8;
/// Bytes that the sealing of some bytes may add.
const SEALING_BYTES: usize = 256;

/// A wallet, bound to one mailbox.
pub(crate) struct Owner {
    pub(crate) key: WalletKey,
    pub(crate) certificate: SecretCertificate,
    pub(crate) binding: CertificateBinding,
}

impl Owner {
    pub(crate) fn new(kind: CertificateKind, mailbox: WalletAddress) -> Result<Self> {
        let key = WalletKey::generate(&mut OsRng);
        let certificate = SecretCertificate::create(&key, kind, now_ms() / 1_000, &mut OsRng)?;
        let binding = CertificateBinding::sign(&key, certificate.certificate(), 1, vec![mailbox])?;
        Ok(Self {
            key,
            certificate,
            binding,
        })
    }

    pub(crate) fn keys(&self) -> OwnerKeys<'_> {
        OwnerKeys {
            certificate: &self.certificate,
            binding: &self.binding,
        }
    }

    /// A packet to this wallet that fills a class, with that number inside.
    pub(crate) fn packet(&self, number: u64, class: SizeClass) -> Result<Packet> {
        let exact = class.packet_bytes();
        let mut body = vec![0; exact.saturating_sub(1_024 + SEALING_BYTES).max(8)];
        // No envelope begins like that.
        body[..8].copy_from_slice(&number.to_be_bytes());
        let certificate = self.certificate.certificate();
        Ok(packet::seal_bytes_to(
            certificate,
            None,
            &body,
            Some(exact),
            &mut OsRng,
        )?)
    }

    /// The number in a packet.
    pub(crate) fn number(&self, packet: &[u8]) -> Result<u64> {
        let opened = packet::open(packet, &self.certificate)?;
        let bytes = opened.body.get(..8).context("a short body")?;
        Ok(u64::from_be_bytes(bytes.try_into()?))
    }

    /// A request to a mailbox in a layer made at that time, and the key of its answer.
    pub(crate) fn layer(
        &self,
        mailbox: &Spot,
        request: &Request<'_>,
        time_ms: u64,
    ) -> Result<(Vec<u8>, AnswerKey)> {
        let answer_key = AnswerKey::generate(&mut OsRng);
        let ties = ties(mailbox, &answer_key, time_ms);
        let request = request.encode();
        let body = Body::Owner {
            fingerprint: self.certificate.certificate().fingerprint(),
            signature: self.certificate.sign_raw(&owner_message(&ties, &request)),
            request: &request,
        };
        let command = Command { ties, body }.encode();
        let length = SizeClass::K4.packet_bytes();
        let layer = packet::seal_layer(&mailbox.certificate, &command, length, &mut OsRng)?;
        Ok((layer.as_bytes().to_vec(), answer_key))
    }
}

fn ties(node: &Spot, answer_key: &AnswerKey, time_ms: u64) -> Ties {
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    Ties {
        node: node.address,
        time_ms,
        nonce,
        answer_key: answer_key.clone(),
    }
}

/// Makes so many wallets with an account at a mailbox.
pub(crate) async fn open(
    world: &World,
    count: usize,
    mailbox: &Spot,
) -> Result<Vec<std::sync::Arc<Owner>>> {
    let (sdk, _home) = world.sdk().await?;
    let (mut opening, mut owners) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        if opening.len() >= AT_ONCE {
            owners.push(opening.join_next().await.context("none")???);
        }
        let (sdk, address) = (sdk.clone(), mailbox.address);
        opening.spawn(async move {
            let owner = std::sync::Arc::new(Owner::new(CertificateKind::V6Classic, address)?);
            sdk.open_mailbox(owner.keys(), address).await?;
            anyhow::Ok(owner)
        });
    }
    while let Some(opened) = opening.join_next().await {
        owners.push(opened??);
    }
    Ok(owners)
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The beginning of a packet to a key, by which everybody routes it; nothing could be decrypted.
pub(crate) struct Hollow {
    head: Vec<u8>,
}

impl Hollow {
    /// Enough for the session key packet.
    const HEAD_BYTES: usize = 128;

    pub(crate) fn to(owner: &Owner) -> Result<Self> {
        let mut head = owner.packet(0, SizeClass::K4)?.as_bytes().to_vec();
        head.truncate(Self::HEAD_BYTES);
        Ok(Self { head })
    }

    /// One that differs from all others of another number.
    pub(crate) fn packet(&self, number: u64, bytes: usize) -> Vec<u8> {
        let mut packet = self.head.clone();
        packet.extend_from_slice(&number.to_be_bytes());
        packet.resize(bytes, 0);
        packet
    }

    /// The number in it.
    pub(crate) fn number(packet: &[u8]) -> Result<u64> {
        let bytes = packet.get(Self::HEAD_BYTES..Self::HEAD_BYTES + 8);
        Ok(u64::from_be_bytes(bytes.context("too short")?.try_into()?))
    }
}
