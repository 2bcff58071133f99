//! What a client is told when its request led nowhere: a status that fits and one small page.

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use protocol::target::{Target, TargetError};
use thiserror::Error;

use super::Body;
use crate::outbound::ConnectError;
use crate::signing::SigningError;

/// Why a request was not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum Refusal {
    /// The target could not be connected to.
    #[error("{target}: {error}")]
    Connect { target: Target, error: ConnectError },
    /// The request names no target that could be.
    #[error("the address of the request is none: {0}")]
    Target(#[from] TargetError),
    /// The request is in absolute form and not for http.
    #[error("only http: requests are forwarded; for others a client asks for a tunnel by CONNECT")]
    Scheme,
    /// The user name and password can't be read.
    #[error("the user name and password for this proxy can't be read: only Basic is known")]
    Credentials,
    /// The body is in a transfer coding that is not known here.
    #[error("of transfer codings only chunked is known")]
    Coded,
    /// The origin ended the connection before its answer, or answered what is none.
    #[error("{target}: the site closed the connection, or sent what is no HTTP answer")]
    Answer { target: Target },
    /// It was to be signed, and could not be.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// One of the own pages was asked for by another host name or port.
    #[error("this is the local proxy, and the request was meant for another host")]
    ForeignHost,
    /// A web page wants to look at one of the own pages.
    #[error("pages of other sites may not read this one")]
    ForeignSite,
    /// The status may only be read on this machine.
    #[error("the status can be read on the machine of the proxy only")]
    Remote,
    /// There is no such page.
    #[error("there is no such page here: see / and /proxy.pac")]
    NoPage,
    /// The own pages are only read.
    #[error("this page can only be read")]
    ReadOnly,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Connect { error, .. } => error.http_status(),
            Self::Target(_) | Self::Scheme => StatusCode::BAD_REQUEST,
            Self::Coded => StatusCode::NOT_IMPLEMENTED,
            Self::Credentials => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Self::Signing(error) => error.status(),
            Self::Answer { .. } => StatusCode::BAD_GATEWAY,
            Self::ForeignHost | Self::ForeignSite | Self::Remote => StatusCode::FORBIDDEN,
            Self::NoPage => StatusCode::NOT_FOUND,
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Connect { error, .. } => error.advice(),
            Self::Signing(error) => error.advice(),
            Self::Answer { .. } => "Try again; if that does not help, the site is at fault.",
            Self::ForeignHost => "Open it by the address that the proxy listens on.",
            Self::ForeignSite => "Type the address instead of following a link.",
            _ => "",
        }
    }

    pub(super) fn into_response(self, wants_html: bool) -> Response<Body> {
        let status = self.status();
        let (text, advice) = (sentence(&self.to_string()), self.advice());
        let reason = status.canonical_reason().unwrap_or_default();
        let mut response = match wants_html {
            true => html(&format!(
                "<title>{reason}</title><h1>{reason}</h1><p>{}</p><p>{}</p><hr><p>CONET proxy</p>",
                escape(&text),
                escape(advice)
            )),
            false => page("text/plain; charset=utf-8", format!("{text}\n{advice}\n")),
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match &self {
            Self::Credentials => {
                let challenge = HeaderValue::from_static("Basic realm=\"any name; it isolates\"");
                headers.insert(PROXY_AUTHENTICATE, challenge);
            }
            Self::ReadOnly => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

/// Whether the client is one that shows pages.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// A page of HTML that loads nothing and runs nothing.
pub(super) fn html(inside: &str) -> Response<Body> {
    const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}\
        table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}";
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>{inside}</html>\n"
    );
    page("text/html; charset=utf-8", text)
}

/// A page that is kept by nobody and belongs into no other page.
pub(super) fn page(content_type: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// No body at all.
pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A text as text within a page.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// An error's text for people: it ends with a full stop.
fn sentence(text: &str) -> String {
    format!("{text}.")
}
