//! Requests that only the owner of a mailbox account may make.

use minicbor::Decoder;
use wallet::{CertificateBinding, Fingerprint, KeyId, WalletAddress, WalletSignature};

use crate::NodeId;
use crate::cbor::{CodecError, array, finish, fixed, list, optional, writer, written};
use crate::rendezvous::{MAX_SERVICE_TAGS, ServiceTag};

/// Length of a decryption challenge's token in bytes.
pub const TOKEN_BYTES: usize = 32;
/// Tokens of one OpenMailbox request at most: one for each subkey.
pub const MAX_TOKENS: usize = 8;
const MAX_KEY_IDS: usize = 8;
const MAX_MAILBOXES: usize = 3;

/// Names one device of a wallet at its mailbox: 16 random bytes.
pub type DeviceId = [u8; 16];

/// What the owner of an account asks of its mailbox.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request<'b> {
    /// Keep packets for the subkeys of this certificate; also how a rotated certificate is announced.
    OpenMailbox {
        /// The certificate, binary OpenPGP.
        certificate: &'b [u8],
        /// The wallet's statement about it.
        binding: CertificateBinding,
        /// What the challenges decrypted to; empty asks for challenges.
        tokens: Vec<[u8; TOKEN_BYTES]>,
    },
    /// Deliver what is kept, in order.
    Collect {
        /// Which device collects.
        device: DeviceId,
        /// Deliver what comes after this cursor; `None` resumes after the device's last acknowledgement.
        after: Option<u64>,
        /// Bytes of packets that may be under way unacknowledged.
        window_bytes: u32,
        /// Stay and deliver what arrives later.
        stay: bool,
    },
    /// Everything up to a cursor is in the device's durable inbox.
    Acknowledge {
        /// Which device.
        device: DeviceId,
        /// The last cursor it has.
        cursor: u64,
    },
    /// Put this route on the ledger; the mailbox pays.
    SubmitRoute {
        /// The route.
        route: Route,
        /// The wallet's EIP-712 signature over it.
        signature: WalletSignature,
    },
    /// Forget the account and all that is kept for it.
    CloseMailbox,
    /// Hand on offers of streams to these services of the account, as long as the answer's stream stays.
    Serve {
        /// The services, at most [`MAX_SERVICE_TAGS`].
        tags: Vec<ServiceTag>,
    },
}

/// A route as the wallet signs it for the ledger (`docs/wire-format.md`, 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose packets.
    pub wallet: WalletAddress,
    /// Primary fingerprint of the wallet's certificate.
    pub fingerprint: Fingerprint,
    /// The key IDs it covers, at most 8.
    pub key_ids: Vec<KeyId>,
    /// The mailboxes, in order of preference, at most 3.
    pub mailboxes: Vec<NodeId>,
    /// Rises with each route of the wallet.
    pub sequence: u64,
    /// Until when it holds, in Unix seconds.
    pub expiry_s: u64,
}

pub(super) fn fingerprint(d: &mut Decoder<'_>) -> Result<Fingerprint, CodecError> {
    Fingerprint::from_slice(d.bytes()?).map_err(|_| CodecError::Length("fingerprint"))
}

impl Request<'_> {
    /// Writes the request as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut e = writer(256);
        written((|| {
            match self {
                Self::OpenMailbox {
                    certificate,
                    binding,
                    tokens,
                } => {
                    e.array(4)?
                        .u8(0)?
                        .bytes(certificate)?
                        .encode(binding)?
                        .array(tokens.len() as u64)?;
                    for token in tokens {
                        e.bytes(token)?;
                    }
                }
                Self::Collect {
                    device,
                    after,
                    window_bytes,
                    stay,
                } => {
                    e.array(5)?.u8(1)?.bytes(device)?;
                    match after {
                        Some(cursor) => e.u64(*cursor)?,
                        None => e.null()?,
                    };
                    e.u32(*window_bytes)?.bool(*stay)?;
                }
                Self::Acknowledge { device, cursor } => {
                    e.array(3)?.u8(2)?.bytes(device)?.u64(*cursor)?;
                }
                Self::SubmitRoute { route, signature } => {
                    e.array(3)?
                        .u8(3)?
                        .array(6)?
                        .bytes(route.wallet.as_bytes())?;
                    e.bytes(route.fingerprint.as_bytes())?
                        .array(route.key_ids.len() as u64)?;
                    for key in &route.key_ids {
                        e.bytes(key.as_bytes())?;
                    }
                    e.array(route.mailboxes.len() as u64)?;
                    for mailbox in &route.mailboxes {
                        e.bytes(mailbox.as_bytes())?;
                    }
                    e.u64(route.sequence)?
                        .u64(route.expiry_s)?
                        .bytes(signature.as_bytes())?;
                }
                Self::CloseMailbox => {
                    e.array(1)?.u8(4)?;
                }
                Self::Serve { tags } => {
                    e.array(2)?.u8(5)?.array(tags.len() as u64)?;
                    for tag in tags {
                        e.bytes(tag.as_bytes())?;
                    }
                }
            }
            Ok(())
        })());
        e.into_writer()
    }
}

impl<'b> Request<'b> {
    /// Reads a request.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes, wrong lengths and unknown kinds.
    pub fn decode(bytes: &'b [u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let elements = array(&mut d, 1, "request")? + 1;
        let kind = d.u64()?;
        let (request, used) = match kind {
            0 => {
                let certificate = d.bytes()?;
                let binding = d.decode()?;
                let tokens = list(&mut d, MAX_TOKENS, "tokens", |d| fixed(d, "token"))?;
                (
                    Self::OpenMailbox {
                        certificate,
                        binding,
                        tokens,
                    },
                    4,
                )
            }
            1 => {
                let device = fixed(&mut d, "device")?;
                let after = optional(&mut d, |d| Ok(d.u64()?))?;
                (
                    Self::Collect {
                        device,
                        after,
                        window_bytes: d.u32()?,
                        stay: d.bool()?,
                    },
                    5,
                )
            }
            2 => (
                Self::Acknowledge {
                    device: fixed(&mut d, "device")?,
                    cursor: d.u64()?,
                },
                3,
            ),
            3 => {
                let rest = array(&mut d, 6, "route")?;
                let route = Route {
                    wallet: WalletAddress::from_bytes(fixed(&mut d, "wallet")?),
                    fingerprint: fingerprint(&mut d)?,
                    key_ids: list(&mut d, MAX_KEY_IDS, "key IDs", |d| {
                        Ok(KeyId::from_bytes(fixed(d, "key ID")?))
                    })?,
                    mailboxes: list(&mut d, MAX_MAILBOXES, "mailboxes", |d| {
                        Ok(NodeId::from_bytes(fixed(d, "mailbox")?))
                    })?,
                    sequence: d.u64()?,
                    expiry_s: d.u64()?,
                };
                super::skip(&mut d, rest)?;
                let signature = WalletSignature::from_bytes(fixed(&mut d, "signature")?);
                (Self::SubmitRoute { route, signature }, 3)
            }
            4 => (Self::CloseMailbox, 1),
            5 => {
                let tags = list(&mut d, MAX_SERVICE_TAGS, "service tags", |d| {
                    Ok(ServiceTag::from_bytes(fixed(d, "service tag")?))
                })?;
                (Self::Serve { tags }, 2)
            }
            value => {
                return Err(CodecError::Unsupported {
                    what: "request kind",
                    value,
                });
            }
        };
        let more = elements
            .checked_sub(used)
            .ok_or(CodecError::Length("request"))?;
        finish(&mut d, more, "request")?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_survives_its_encoding() {
        let route = Route {
            wallet: WalletAddress::from_bytes([1; 20]),
            fingerprint: Fingerprint::V6([2; 32]),
            key_ids: vec![KeyId::from_bytes([3; 8]); 8],
            mailboxes: vec![NodeId::from_bytes([4; 20]); 3],
            sequence: u64::MAX,
            expiry_s: 5,
        };
        for request in [
            Request::Collect {
                device: [1; 16],
                after: None,
                window_bytes: 9,
                stay: true,
            },
            Request::Collect {
                device: [1; 16],
                after: Some(7),
                window_bytes: 9,
                stay: false,
            },
            Request::Acknowledge {
                device: [1; 16],
                cursor: 3,
            },
            Request::SubmitRoute {
                route,
                signature: WalletSignature::from_bytes([6; 65]),
            },
            Request::CloseMailbox,
            Request::Serve {
                tags: vec![ServiceTag::from_bytes([7; 16]); MAX_SERVICE_TAGS],
            },
        ] {
            assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        }
    }

    #[test]
    fn opening_of_a_mailbox_survives_its_encoding_with_eight_tokens_and_no_more() {
        use rand::SeedableRng as _;
        use wallet::{CertificateKind, SecretCertificate, WalletKey};
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let key = WalletKey::generate(&mut rng);
        let secret = SecretCertificate::create(&key, CertificateKind::V6, 1_800_000_000, &mut rng);
        let secret = secret.unwrap();
        let node = NodeId::from_bytes([4; 20]);
        let binding = CertificateBinding::sign(&key, secret.certificate(), 7, vec![node]).unwrap();
        let certificate = secret.certificate().to_bytes();
        for tokens in [0, 1, 8, 9] {
            let request = Request::OpenMailbox {
                certificate: &certificate,
                binding: binding.clone(),
                tokens: (0..tokens).map(|n| [n; TOKEN_BYTES]).collect(),
            };
            let bytes = request.encode();
            match Request::decode(&bytes) {
                Ok(back) => assert!(tokens <= 8 && back == request),
                Err(error) => assert!(tokens == 9 && matches!(error, CodecError::Length(_))),
            }
        }
    }

    #[test]
    fn publisher_of_more_services_than_a_mailbox_takes_is_refused() {
        let tags = vec![ServiceTag::from_bytes([7; 16]); MAX_SERVICE_TAGS + 1];
        assert!(Request::decode(&Request::Serve { tags }.encode()).is_err());
    }

    #[test]
    fn route_with_nine_keys_is_refused() {
        let route = Route {
            wallet: WalletAddress::from_bytes([1; 20]),
            fingerprint: Fingerprint::V6([2; 32]),
            key_ids: vec![KeyId::from_bytes([3; 8]); 9],
            mailboxes: vec![],
            sequence: 1,
            expiry_s: 5,
        };
        let bytes = Request::SubmitRoute {
            route,
            signature: WalletSignature::from_bytes([6; 65]),
        }
        .encode();
        assert!(Request::decode(&bytes).is_err());
    }
}
