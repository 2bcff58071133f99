//! The life of one request: who asks, may they, and what the server says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{EXPECT, HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use signin::{BodyDigest, RequestParts, hop};
use tokio::sync::OwnedSemaphorePermit;
use wallet::WalletAddress;

use crate::answers::Refusal;
use crate::body::{AnswerBody, BodyError, Progress, RequestBody, answer, nothing};
use crate::{Shared, Visit, tcp, wallet_field};

/// A caller and the server that have agreed to speak something else.
pub(crate) struct Join {
    caller: OnUpgrade,
    server: OnUpgrade,
    place: OwnedSemaphorePermit,
}

impl Shared {
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        visit: &Visit,
    ) -> Response<AnswerBody> {
        let response = self.forward(request, visit).await;
        response.unwrap_or_else(Refusal::into_response)
    }

    /// Passes a request on, and its answer back.
    async fn forward(
        &self,
        mut request: Request<Incoming>,
        visit: &Visit,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Busy)?;
        let has_body = RequestParts::announces_body(request.headers());
        let (wallet, digest) = self.caller(&mut request, has_body)?;
        if hop::is_coded(request.headers()) {
            return Err(Refusal::Coded);
        }
        let wanted = hop::upgrade(request.headers());
        let caller = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
        self.prepare(&mut request, wanted.as_ref(), wallet)?;
        let mut response = self.exchange(request, digest).await?;
        if hop::is_coded(response.headers()) {
            return Err(Refusal::ServerDown);
        }
        let granted = hop::upgrade(response.headers());
        let server = hyper::upgrade::on(&mut response);
        hop::remove_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        match (response.status(), caller, granted) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(caller), Some(protocol)) => {
                hop::put_upgrade(response.headers_mut(), protocol);
                *visit.join.lock().await = Some(Join {
                    caller,
                    server,
                    place,
                });
                let (head, _no_body) = response.into_parts();
                Ok(Response::from_parts(head, nothing()))
            }
            (StatusCode::SWITCHING_PROTOCOLS, ..) => Err(Refusal::ServerDown),
            _ => Ok(response.map(|body| answer(body, place))),
        }
    }

    /// Finds out who asks, and whether they may.
    fn caller(
        &self,
        request: &mut Request<Incoming>,
        has_body: bool,
    ) -> Result<(Option<WalletAddress>, Option<BodyDigest>), Refusal> {
        if *request.method() == Method::CONNECT {
            return Err(Refusal::Proxy);
        }
        if let Some(authority) = request.uri().authority() {
            // In absolute form it says whom the request is for, whatever the Host says (RFC 9112 section 3.2.2).
            let host = HeaderValue::try_from(authority.as_str());
            let host = host.map_err(|_| Refusal::Proxy)?;
            request.headers_mut().insert(HOST, host);
        }
        let parts = RequestParts::of(request, has_body)?;
        let verified = self.verifier.verify(&parts, now_s())?;
        if let Some(allowed) = &self.config.allow {
            let wallet = verified.ok_or(Refusal::Unsigned)?.wallet;
            if !allowed.contains(&wallet) {
                return Err(Refusal::NotAllowed);
            }
        }
        let digest = verified.and_then(|verified| verified.digest);
        Ok((verified.map(|verified| verified.wallet), digest))
    }

    /// Makes of a request from the network one to the server.
    fn prepare(
        &self,
        request: &mut Request<Incoming>,
        wanted: Option<&HeaderValue>,
        wallet: Option<WalletAddress>,
    ) -> Result<(), Refusal> {
        let path = request.uri().path_and_query().cloned();
        let path = path.filter(|path| path.as_str().starts_with('/'));
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.config.target.authority().clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| Refusal::Proxy)?;
        *request.version_mut() = Version::HTTP_11;
        let fields = request.headers_mut();
        hop::remove_hop(fields);
        // The caller was told to go on when its body was asked for.
        fields.remove(EXPECT);
        if let Some(host) = &self.config.host {
            fields.insert(HOST, host.clone());
        }
        if let Some(protocol) = wanted {
            hop::put_upgrade(fields, protocol.clone());
        }
        wallet_field::set(fields, wallet);
        Ok(())
    }

    async fn exchange(
        &self,
        request: Request<Incoming>,
        digest: Option<BodyDigest>,
    ) -> Result<Response<Incoming>, Refusal> {
        let progress = Progress::new();
        let exchanged = async {
            let (head, incoming) = request.into_parts();
            let body = match digest {
                Some(digest) => RequestBody::compared(incoming, digest, &progress).await?,
                None => RequestBody::streamed(incoming, &progress),
            };
            let answered = self.client.request(Request::from_parts(head, body)).await;
            answered.map_err(|_| match progress.failure() {
                Some(failure) => failure.into(),
                None => Refusal::ServerDown,
            })
        };
        tokio::select! {
            exchanged = exchanged => exchanged,
            () = progress.stalled(self.config.idle_timeout) => Err(match progress.has_ended() {
                true => Refusal::ServerSlow,
                false => Refusal::SlowCaller,
            }),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Digest => Self::Digest,
            BodyError::BrokenOff => Self::BrokenOff,
        }
    }
}

impl Join {
    /// Copies until both have ended.
    pub(crate) async fn run(self) {
        let Self {
            caller,
            server,
            place,
        } = self;
        if let (Ok(caller), Ok(server)) = tokio::join!(caller, server) {
            let (mut caller, mut server) = (TokioIo::new(caller), TokioIo::new(server));
            // However it ended, both are dropped now.
            let _ended = tcp::copy(&mut caller, &mut server).await;
        }
        drop(place);
    }
}

/// Unix seconds; zero on a clock before that, with which every signature is from the future.
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
