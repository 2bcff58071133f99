//! Signing in without a login: requests to services of the network are signed by a wallet on their way out.
//!
//! A request comes here when it is ready to be sent and before there is a connection for it. It is signed if its host is a
//! service (`*.conet`), the site is not opted out, the client is on this machine, the person or the site itself wanted the
//! request ([`signin::may_sign`]) and nobody has signed it already; otherwise it goes on as it is. What is signed has the
//! digest of its body, so the body is read to its end first: `spool.rs` keeps it.

mod spool;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Incoming};
use protocol::target::{Host, HostName};
use rand::rngs::OsRng;
use signin::{Authority, Nonce, PartsError, RequestParts, SignError, may_sign, sign, site_wallet};
use thiserror::Error;
use wallet::WalletKey;

use spool::Spool;
pub use spool::{DEFAULT_MAX_SPOOLED_BYTES, MAX_BODIES_KEPT, MAX_BODY_IN_MEMORY_BYTES};

/// What the names of services end with.
const SERVICES: &str = ".conet";
/// The field by which a client shows that it signs for itself.
const SIGNATURE_INPUT: &str = "signature-input";

/// What is sent to an origin: what a client sends, or what was kept of it.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Who a person is to one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SiteIdentity {
    /// The wallet that only this site sees.
    #[default]
    SiteWallet,
    /// The person's own wallet, by which all sites that see it know each other's visitors.
    Person,
    /// Nobody: nothing is signed.
    Nobody,
}

/// Signs requests to services.
pub struct Signer {
    person: WalletKey,
    chain_id: u64,
    identities: BTreeMap<HostName, SiteIdentity>,
    default: SiteIdentity,
    spool: Spool,
}

/// Why a request that was to be signed was not, and so is not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The `Host` can't be signed.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Something in the head can't be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The client ended before its body did.
    #[error("the body of the request broke off")]
    BrokenOff,
    /// There is no room to keep the body.
    #[error("the body is too large to be signed: at most {max_bytes} bytes are kept at once")]
    TooLarge {
        /// The room for all bodies at once, in bytes.
        max_bytes: u64,
    },
    /// The disk does not take the body.
    #[error("the body can't be kept on disk until it is signed")]
    Disk(#[source] std::io::Error),
}

impl Signer {
    /// Signs for one chain, with a wallet of its own for each site that derives from `person`.
    #[must_use]
    pub fn new(person: WalletKey, chain_id: u64) -> Self {
        Self {
            person,
            chain_id,
            identities: BTreeMap::new(),
            default: SiteIdentity::default(),
            spool: Spool::new(None, DEFAULT_MAX_SPOOLED_BYTES),
        }
    }

    /// Decides who the person is to one site.
    #[must_use]
    pub fn with_identity(mut self, site: HostName, identity: SiteIdentity) -> Self {
        self.identities.insert(site, identity);
        self
    }

    /// Decides who the person is to sites of which nothing else was said.
    #[must_use]
    pub fn with_default(mut self, identity: SiteIdentity) -> Self {
        self.default = identity;
        self
    }

    /// Keeps large bodies in this folder instead of the system's, in files that nobody else can open, and so many bytes of
    /// all of them at most.
    #[must_use]
    pub fn with_spool(mut self, folder: PathBuf, max_bytes: u64) -> Self {
        self.spool = Spool::new(Some(folder), max_bytes);
        self
    }

    /// The wallet that a site sees, if it sees one.
    #[must_use]
    pub fn wallet_for(&self, site: &HostName) -> Option<WalletKey> {
        match self.identities.get(site).copied().unwrap_or(self.default) {
            SiteIdentity::SiteWallet => Some(site_wallet(&self.person, site)),
            SiteIdentity::Person => Some(self.person.clone()),
            SiteIdentity::Nobody => None,
        }
    }

    /// Signs a request that is ready to be sent, if it is one to be signed.
    pub(crate) async fn sign(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Request<Outgoing>, SigningError> {
        let Some(wallet) = self.signs(&request, client) else {
            return Ok(unsigned(request));
        };
        let (head, incoming) = request.into_parts();
        let has_body = !incoming.is_end_stream();
        let (digest, body) = match has_body {
            true => self.spool.keep(incoming).await?,
            false => (None, spool::nothing()),
        };
        let mut request = Request::from_parts(head, body);
        let parts = RequestParts::of(&request, digest.is_some())?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since.map_or(0, |since| since.as_secs());
        let nonce = Nonce::generate(&mut OsRng);
        let fields = sign(
            &parts,
            digest.as_ref(),
            &wallet,
            self.chain_id,
            now_s,
            &nonce,
        )?;
        fields.put_into(request.headers_mut());
        Ok(request)
    }

    /// By which wallet a request is to be signed, if by any.
    fn signs(&self, request: &Request<Incoming>, client: IpAddr) -> Option<WalletKey> {
        let fields = request.headers();
        // Who comes from elsewhere is somebody else, whatever they may use the proxy for.
        if !client.to_canonical().is_loopback() || fields.contains_key(SIGNATURE_INPUT) {
            return None;
        }
        let own: Authority = fields.get(HOST)?.to_str().ok()?.parse().ok()?;
        let site = service(own.host())?;
        match may_sign(request.method(), fields, &own) {
            true => self.wallet_for(site),
            false => None,
        }
    }
}

impl SigningError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Parts(_) | Self::Sign(_) | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "Send less at once, or start the proxy with --no-sign for this site to send it unsigned."
            }
            Self::Disk(_) => "Make room on the disk where temporary files are.",
            Self::Parts(_) | Self::Sign(_) | Self::BrokenOff => "",
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// A request as the client sent it.
pub(crate) fn unsigned(request: Request<Incoming>) -> Request<Outgoing> {
    request.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// The name of a host that is a service of the network.
fn service(host: &Host) -> Option<&HostName> {
    match host {
        Host::Name(name) if name.as_str().ends_with(SERVICES) => Some(name),
        Host::Name(_) | Host::Address(_) => None,
    }
}
