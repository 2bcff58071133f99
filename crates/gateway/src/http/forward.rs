//! Requests in absolute form: taken from one connection, put on another, bodies passed on as they come.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use protocol::target::{Target, TargetError};

use super::answers::Refusal;
use super::credentials::isolation;
use signin::hop;

use super::{Body, Http, MAX_FIELDS, MAX_HEAD_BYTES, Visit};
use crate::outbound::{Ask, Isolation};
use crate::signing::{Outgoing, unsigned};

/// How long a kept connection may take until it can be used again; its last answer has been passed on by then.
const READY_TIMEOUT: Duration = Duration::from_secs(1);
const HTTP_PORT: u16 = 80;

/// A connection to an origin that a client's next request may use.
pub(super) struct Kept {
    target: Target,
    isolation: Isolation,
    origin: SendRequest<Outgoing>,
}

impl Http {
    /// Passes a request on, and its answer back.
    pub(super) async fn forward(
        &self,
        mut request: Request<Incoming>,
        visit: &Visit,
    ) -> Result<Response<Body>, Refusal> {
        let (target, host) = destination(request.uri())?;
        let isolation = isolation(request.headers())?;
        if hop::is_coded(request.headers()) {
            return Err(Refusal::Coded);
        }
        let wanted = hop::upgrade(request.headers());
        let client = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
        prepare(&mut request, host, wanted.as_ref());
        let request = self.signed(request, &target, visit).await?;
        let mut response = self.exchange(request, &target, isolation, visit).await?;
        if hop::is_coded(response.headers()) {
            return Err(Refusal::Answer { target });
        }
        let granted = hop::upgrade(response.headers());
        let server = hyper::upgrade::on(&mut response);
        hop::remove_hop(response.headers_mut());
        match (response.status(), client, granted) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(client), Some(protocol)) => {
                hop::put_upgrade(response.headers_mut(), protocol);
                self.join(client, server, visit);
            }
            (StatusCode::SWITCHING_PROTOCOLS, ..) => return Err(Refusal::Answer { target }),
            _ => {}
        }
        // Which version the origin speaks is between it and us.
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| body.boxed_unsync()))
    }

    /// Signs a request to a service of the network, if there is who signs. What goes around the network goes unsigned.
    async fn signed(
        &self,
        request: Request<Incoming>,
        target: &Target,
        visit: &Visit,
    ) -> Result<Request<Outgoing>, Refusal> {
        match &self.signer {
            Some(signer) if !self.ways.bypasses(target) => {
                Ok(signer.sign(request, visit.from.ip()).await?)
            }
            _ => Ok(unsigned(request)),
        }
    }

    /// Sends a request on the connection that is kept, if it leads there, or on a new one.
    async fn exchange(
        &self,
        mut request: Request<Outgoing>,
        target: &Target,
        isolation: Isolation,
        visit: &Visit,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut place = visit.kept.lock().await;
        if let Some(mut kept) = place.take()
            && kept.target == *target
            && kept.isolation == isolation
            && matches!(
                tokio::time::timeout(READY_TIMEOUT, kept.origin.ready()).await,
                Ok(Ok(()))
            )
        {
            match kept.origin.try_send_request(request).await {
                Ok(response) => {
                    *place = Some(kept);
                    return Ok(response);
                }
                // Closed in the same moment. What was not sent goes by a new one; what was may have been obeyed.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        return Err(Refusal::Answer {
                            target: target.clone(),
                        });
                    }
                },
            }
        }
        let mut origin = self.origin(target, &isolation).await?;
        let answered = origin.send_request(request).await;
        let response = answered.map_err(|_| Refusal::Answer {
            target: target.clone(),
        })?;
        *place = Some(Kept {
            target: target.clone(),
            isolation,
            origin,
        });
        Ok(response)
    }

    async fn origin(
        &self,
        target: &Target,
        isolation: &Isolation,
    ) -> Result<SendRequest<Outgoing>, Refusal> {
        let ask = Ask {
            target: target.clone(),
            isolation: isolation.clone(),
            first: Bytes::new(),
        };
        let connected = self.ways.connect(ask).await;
        let stream = connected.map_err(|error| Refusal::Connect {
            target: target.clone(),
            error,
        })?;
        let shaken = Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await;
        let (origin, connection) = shaken.map_err(|_| Refusal::Answer {
            target: target.clone(),
        })?;
        self.doorman.spawn(async move {
            // Whoever waits for an answer gets the error too.
            let _told_there = connection.with_upgrades().await;
        });
        Ok(origin)
    }
}

/// Where a request in absolute form goes, and the `Host` that says so there (RFC 9112 section 3.2.2).
fn destination(uri: &Uri) -> Result<(Target, HeaderValue), Refusal> {
    let is_plain =
        |scheme: &Scheme| *scheme == Scheme::HTTP || scheme.as_str().eq_ignore_ascii_case("ws");
    if !uri.scheme().is_some_and(is_plain) {
        return Err(Refusal::Scheme);
    }
    let authority = uri.authority().ok_or(TargetError::NoHost)?;
    // What stands before an `@` in it is the client's, and never sent.
    let (host, named) = (authority.host(), authority.port());
    let port = match &named {
        None => HTTP_PORT,
        Some(port) => port.as_u16(),
    };
    let target: Target = format!("{host}:{port}").parse()?;
    let host = match named {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    let host = HeaderValue::try_from(host).map_err(|_| TargetError::Character)?;
    Ok((target, host))
}

/// Makes of a request to a proxy one to an origin.
fn prepare(request: &mut Request<Incoming>, host: HeaderValue, wanted: Option<&HeaderValue>) {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    hop::remove_hop(headers);
    headers.insert(HOST, host);
    if let Some(protocol) = wanted {
        hop::put_upgrade(headers, protocol.clone());
    }
}
