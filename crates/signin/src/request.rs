//! The parts of a request that are signed, and the text that is signed for them (RFC 9421 section 2).

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Request};
use thiserror::Error;

use crate::authority::{Authority, AuthorityError};

/// A request as it is signed and verified: everything but its body.
#[derive(Debug, Clone)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// Whom the request is for.
    pub authority: Authority,
    /// The path; `/` where the request has none.
    pub path: &'a str,
    /// What follows the question mark, unless nothing does.
    pub query: Option<&'a str>,
    /// The fields of the head.
    pub fields: &'a HeaderMap,
    /// Whether a body follows, which must be covered then.
    pub has_body: bool,
}

/// Why a request has no parts that could be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PartsError {
    /// There is no `Host`, or more than one.
    #[error("the request needs exactly one Host")]
    Host,
    /// The `Host` names none.
    #[error("the Host of the request can't be read: {0}")]
    Authority(#[from] AuthorityError),
}

/// Why a component of a request can't be signed or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The signature covers something that is not known here.
    #[error("of what the signature covers something is not known here")]
    Unknown,
    /// The signature covers a field that the request does not have.
    #[error("the signature covers a field that the request does not have")]
    Missing,
    /// A value has characters beyond ASCII, or control characters.
    #[error("a part of the request that is signed has characters that are not visible ASCII")]
    NotAscii,
}

impl<'a> RequestParts<'a> {
    /// Takes the parts of a request whose `Host` says whom it is for.
    ///
    /// # Errors
    /// [`PartsError`] where there is not one `Host`, or it names none.
    pub fn of<B>(request: &'a Request<B>, has_body: bool) -> Result<Self, PartsError> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(PartsError::Host);
        };
        let host = host.to_str().map_err(|_| PartsError::Host)?;
        let path = match request.uri().path() {
            "" => "/",
            path => path,
        };
        Ok(Self {
            method: request.method(),
            authority: host.parse()?,
            path,
            query: request.uri().query().filter(|query| !query.is_empty()),
            fields: request.headers(),
            has_body,
        })
    }

    /// Whether a head announces a body (RFC 9112 section 6.3). One in chunks counts, though it may turn out empty.
    #[must_use]
    pub fn announces_body(fields: &HeaderMap) -> bool {
        let is_empty = |length: &http::HeaderValue| length.as_bytes().trim_ascii() == b"0";
        let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
        fields.contains_key(TRANSFER_ENCODING) || lengths.any(|length| !is_empty(length))
    }

    /// What a signature of this request must cover, in the order in which ours do.
    pub(crate) fn required(&self) -> impl Iterator<Item = &'static str> {
        let query = self.query.map(|_| "@query");
        let digest = self.has_body.then_some("content-digest");
        let always = ["@authority", "@method", "@path"];
        always.into_iter().chain(query).chain(digest)
    }

    /// A field's values as one: each without white space around it, joined by commas (RFC 9421 section 2.1).
    pub(crate) fn field(&self, name: &str) -> Result<String, ComponentError> {
        let mut joined = None::<String>;
        for value in self.fields.get_all(name) {
            let value = value.to_str().map_err(|_| ComponentError::NotAscii)?.trim();
            match &mut joined {
                None => joined = Some(value.to_owned()),
                Some(joined) => joined.extend([", ", value]),
            }
        }
        joined.ok_or(ComponentError::Missing)
    }

    /// One line of the signature base, without its end.
    fn line(&self, component: &str) -> Result<String, ComponentError> {
        let value = match component {
            "@authority" => self.authority.as_str().to_owned(),
            "@method" => self.method.as_str().to_owned(),
            "@path" => self.path.to_owned(),
            "@query" => format!("?{}", self.query.unwrap_or_default()),
            name if name.starts_with('@') => return Err(ComponentError::Unknown),
            name => self.field(name)?,
        };
        match value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Ok(format!("\"{component}\": {value}")),
            false => Err(ComponentError::NotAscii),
        }
    }

    /// The text that is signed (RFC 9421 section 2.5), for `params` as they stand in `Signature-Input`.
    pub(crate) fn base<'c>(
        &self,
        components: impl Iterator<Item = &'c str>,
        params: &str,
    ) -> Result<String, ComponentError> {
        let mut base = String::new();
        for component in components {
            base.push_str(&self.line(component)?);
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(params);
        Ok(base)
    }
}
