//! Verifying.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wallet::{SignatureError, WalletAddress, WalletSignature};

use crate::authority::Authority;
use crate::digest::{BodyDigest, DigestError};
use crate::nonces::{DEFAULT_MAX_NONCES, NonceKey, Nonces, Refused};
use crate::request::{ComponentError, RequestParts};
use crate::sign::{MAX_NONCE_CHARS, SIGNATURE, SIGNATURE_INPUT};

/// How far the clocks of both sides may be apart, in seconds.
pub const CLOCK_SKEW_S: u64 = 30;
/// How long a signature may be good at most, in seconds: for so long its nonce is remembered.
pub const MAX_VALIDITY_S: u64 = 300;
/// Bytes of `Signature-Input` and of `Signature` at most, each with all its lines.
pub const MAX_SIGNATURE_BYTES: usize = 8192;
/// Components that a signature may cover at most.
const MAX_COMPONENTS: usize = 32;
/// What a `keyid` of ERC-8128 begins with.
const SCHEME: &str = "erc8128:";

/// What a [`Verifier`] accepts.
#[derive(Debug, Clone)]
pub struct VerifierConfig {
    /// The chain that signatures must name, so that none made for another network counts.
    pub chain_id: u64,
    /// Whom requests may be for. Signatures for others are refused.
    pub authorities: Vec<Authority>,
    /// Nonces remembered at once; whoever comes when there is no room is refused.
    pub max_nonces: usize,
}

/// Checks signed requests. Each counts once.
///
/// # Security
/// The memory of nonces ends with it: after a restart a copy of a request counts once more until the request ends, and
/// two verifiers each count a request. Only who has seen the request in clear has a copy.
#[derive(Debug)]
pub struct Verifier {
    config: VerifierConfig,
    nonces: Mutex<Nonces>,
}

/// A request that a wallet has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The wallet.
    pub wallet: WalletAddress,
    /// What the body must hash to. Whoever reads the body has to compare; until then it is anybody's.
    pub digest: Option<BodyDigest>,
}

/// Why a signed request does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The fields of the signature are not what RFC 9421 says.
    #[error("the signature can't be read: {0}")]
    Malformed(&'static str),
    /// More than one wallet has signed.
    #[error("more than one wallet has signed the request")]
    Several,
    /// The signature is for another chain.
    #[error("the signature is for chain {theirs}, and this is {ours}")]
    OtherChain {
        /// The chain that it names.
        theirs: u64,
        /// The chain it should name.
        ours: u64,
    },
    /// A part of the request is not covered.
    #[error("the signature does not cover {0}")]
    NotCovered(&'static str),
    /// A part that is covered can't be had.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The request was signed for, or sent to, somebody else.
    #[error("the request is meant for another service than this")]
    Retargeted,
    /// Its end is not after its beginning, or too long after it.
    #[error("the signature must end within {MAX_VALIDITY_S} s after it was made")]
    Validity,
    /// It was made in the future.
    #[error(
        "clock skew: the signature was made {ahead_s} s in the future; set the caller's clock or the service's"
    )]
    ClockSkew {
        /// How far in the future, in seconds.
        ahead_s: u64,
    },
    /// Its time is over.
    #[error(
        "the signature expired {ago_s} s ago; sign again, and look at the clock if that does not help"
    )]
    Expired {
        /// For how long, in seconds.
        ago_s: u64,
    },
    /// There is no nonce, so that nobody could tell a copy.
    #[error("the signature has no nonce of 1 to {MAX_NONCE_CHARS} characters")]
    Nonce,
    /// The digest of the body says nothing.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The signature is none.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Somebody else has signed, or something else.
    #[error("the signature is not by the wallet it names, or the request was changed")]
    WrongWallet,
    /// The request has counted before.
    #[error("the request was sent before; sign it again")]
    Replayed,
    /// No more nonces can be remembered now.
    #[error("too many signed requests at once; try again in a minute")]
    Busy,
}

impl VerifierConfig {
    /// Accepts what is signed for one chain and these authorities, with [`DEFAULT_MAX_NONCES`].
    #[must_use]
    pub fn new(chain_id: u64, authorities: impl IntoIterator<Item = Authority>) -> Self {
        Self {
            chain_id,
            authorities: authorities.into_iter().collect(),
            max_nonces: DEFAULT_MAX_NONCES,
        }
    }
}

impl Verifier {
    /// Begins with an empty memory.
    #[must_use]
    pub fn new(config: VerifierConfig) -> Self {
        let nonces = Mutex::new(Nonces::new(config.max_nonces));
        Self { config, nonces }
    }

    /// Verifies a request at `now_s` (Unix seconds). `None` is one that no wallet has signed.
    ///
    /// Its nonce has counted after that, whatever becomes of the request.
    ///
    /// # Errors
    /// [`VerifyError`] for a signature that does not count, [`VerifyError::Busy`] where it can't be known.
    pub fn verify(
        &self,
        request: &RequestParts<'_>,
        now_s: u64,
    ) -> Result<Option<Verified>, VerifyError> {
        let Some(claim) = Claim::read(request.fields)? else {
            return Ok(None);
        };
        claim.check_cover(request)?;
        claim.check_times(now_s)?;
        if claim.chain_id != self.config.chain_id {
            let (theirs, ours) = (claim.chain_id, self.config.chain_id);
            return Err(VerifyError::OtherChain { theirs, ours });
        }
        if !self.config.authorities.contains(&request.authority) {
            return Err(VerifyError::Retargeted);
        }
        let digest = match claim.covers("content-digest") {
            true => Some(BodyDigest::from_field(&request.field("content-digest")?)?),
            false => None,
        };
        let base = request.base(claim.components(), &claim.params)?;
        if claim.signature.recover_message(base.as_bytes())? != claim.wallet {
            return Err(VerifyError::WrongWallet);
        }
        let until_s = claim.expires_s.saturating_add(CLOCK_SKEW_S);
        match self.nonces.lock().take(claim.key(), until_s, now_s) {
            Ok(()) => {}
            Err(Refused::Known) => return Err(VerifyError::Replayed),
            // Only a clock that was set back comes here.
            Err(Refused::Late) => return Err(VerifyError::Expired { ago_s: 0 }),
            Err(Refused::Full) => return Err(VerifyError::Busy),
        }
        let wallet = claim.wallet;
        Ok(Some(Verified { wallet, digest }))
    }
}

/// What the fields of a signature say.
struct Claim {
    list: InnerList,
    /// The value of the label in `Signature-Input`, written anew.
    params: String,
    wallet: WalletAddress,
    chain_id: u64,
    created_s: u64,
    expires_s: u64,
    nonce: String,
    signature: WalletSignature,
}

impl Claim {
    /// Finds the signature by a wallet. Signatures of other kinds are nobody's business here.
    fn read(fields: &HeaderMap) -> Result<Option<Self>, VerifyError> {
        let Some(inputs) = dictionary(fields, &SIGNATURE_INPUT)? else {
            return Ok(None);
        };
        let mut ours = inputs.into_iter().filter_map(|(label, input)| {
            let ListEntry::InnerList(list) = input else {
                return None;
            };
            let keyid = text(&list, "keyid")?.strip_prefix(SCHEME)?.to_owned();
            Some((label, list, keyid))
        });
        let Some((label, list, keyid)) = ours.next() else {
            return Ok(None);
        };
        if ours.next().is_some() {
            return Err(VerifyError::Several);
        }
        let (chain_id, wallet) = account(&keyid).ok_or(VerifyError::Malformed(
            "the keyid is not erc8128:CHAIN:0xADDRESS",
        ))?;
        let signatures = dictionary(fields, &SIGNATURE)?;
        let Some(ListEntry::Item(signature)) = signatures.as_ref().and_then(|all| all.get(&label))
        else {
            return Err(VerifyError::Malformed("its Signature is missing"));
        };
        let signature = signature.bare_item.as_byte_sequence();
        let signature = signature.and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or(VerifyError::Malformed("it has not 65 bytes"))?;
        let time = |name| {
            let time = list.params.get(name).and_then(BareItem::as_integer);
            let time = time.and_then(|time| u64::try_from(i64::from(time)).ok());
            time.ok_or(VerifyError::Malformed("created or expires is missing"))
        };
        let (created_s, expires_s) = (time("created")?, time("expires")?);
        let nonce = text(&list, "nonce").unwrap_or_default();
        if nonce.is_empty() || nonce.len() > MAX_NONCE_CHARS {
            return Err(VerifyError::Nonce);
        }
        let nonce = nonce.to_owned();
        let params = vec![ListEntry::InnerList(list.clone())].serialize();
        Ok(Some(Self {
            params: params.ok_or(VerifyError::Malformed("it covers nothing"))?,
            list,
            wallet,
            chain_id,
            created_s,
            expires_s,
            nonce,
            signature: WalletSignature::from_bytes(signature),
        }))
    }

    /// The names of what is covered. One that is not a plain string is left out; [`Claim::check_cover`] refuses it.
    fn components(&self) -> impl Iterator<Item = &str> {
        let items = self.list.items.iter();
        items.filter_map(|item| Some(item.bare_item.as_string()?.as_str()))
    }

    fn covers(&self, name: &str) -> bool {
        self.components().any(|component| component == name)
    }

    /// Checks that everything that must be is covered, and nothing of which another reading is possible.
    fn check_cover(&self, request: &RequestParts<'_>) -> Result<(), VerifyError> {
        let items = &self.list.items;
        let is_plain =
            |item: &sfv::Item| item.params.is_empty() && item.bare_item.as_string().is_some();
        if items.len() > MAX_COMPONENTS || !items.iter().all(is_plain) {
            return Err(ComponentError::Unknown.into());
        }
        let mut names: Vec<&str> = self.components().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(VerifyError::Malformed("it covers a part twice"));
        }
        match request.required().find(|name| !self.covers(name)) {
            Some(name) => Err(VerifyError::NotCovered(name)),
            None => Ok(()),
        }
    }

    fn check_times(&self, now_s: u64) -> Result<(), VerifyError> {
        let validity_s = self.expires_s.checked_sub(self.created_s);
        if !validity_s.is_some_and(|validity_s| (1..=MAX_VALIDITY_S).contains(&validity_s)) {
            return Err(VerifyError::Validity);
        }
        let ahead_s = self.created_s.saturating_sub(now_s);
        if ahead_s > CLOCK_SKEW_S {
            return Err(VerifyError::ClockSkew { ahead_s });
        }
        let ago_s = now_s.saturating_sub(self.expires_s);
        if ago_s > CLOCK_SKEW_S {
            return Err(VerifyError::Expired { ago_s });
        }
        Ok(())
    }

    fn key(&self) -> NonceKey {
        let hasher = Sha256::new().chain_update(self.wallet.as_bytes());
        hasher.chain_update(&self.nonce).finalize().into()
    }
}

/// A field's dictionary, if it is there; several lines are one (RFC 9651 section 4.2).
fn dictionary(fields: &HeaderMap, name: &HeaderName) -> Result<Option<Dictionary>, VerifyError> {
    if !fields.contains_key(name) {
        return Ok(None);
    }
    let lines = fields.get_all(name).iter().map(HeaderValue::as_bytes);
    let joined = lines.collect::<Vec<_>>().join(&b", "[..]);
    if joined.len() > MAX_SIGNATURE_BYTES {
        return Err(VerifyError::Malformed("it is too long"));
    }
    let read = Parser::new(&joined).parse::<Dictionary>();
    let read = read.map_err(|_| VerifyError::Malformed("it is no dictionary"))?;
    Ok(Some(read))
}

/// A parameter that is a string.
fn text<'a>(list: &'a InnerList, name: &str) -> Option<&'a str> {
    Some(list.params.get(name)?.as_string()?.as_str())
}

/// What follows the scheme in a `keyid`: the chain in decimal, a colon and the address.
fn account(keyid: &str) -> Option<(u64, WalletAddress)> {
    let (chain, address) = keyid.split_once(':')?;
    let is_decimal = chain.bytes().all(|digit| digit.is_ascii_digit());
    let chain_id = is_decimal.then(|| chain.parse().ok())??;
    Some((chain_id, address.parse().ok()?))
}
