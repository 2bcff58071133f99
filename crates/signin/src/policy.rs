//! When to sign: only what the person, or a page of the site itself, has asked for.
//!
//! Whoever signs stands behind a browser that runs programs of strangers. A page of `http://evil.test` can make the browser
//! send requests to any site, and they must not go there under the person's name. What tells them apart are fields that
//! browsers write and pages can't: `Sec-Fetch-*` (W3C Fetch Metadata), `Origin` (RFC 6454) and, because browsers leave the
//! former out for sites without TLS, `Referer`, `Upgrade-Insecure-Requests` and `User-Agent`.

use http::Method;
use http::header::{HeaderMap, HeaderName, ORIGIN, REFERER, UPGRADE_INSECURE_REQUESTS, USER_AGENT};

use crate::authority::Authority;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// What a browser says of pages that it loads before anybody wants them.
const AHEAD: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Whether a request to the site `own` is to be signed.
///
/// | the browser says | signed |
/// | --- | --- |
/// | an `Origin` other than `http://` and the site, `null` too | no |
/// | `Sec-Fetch-Site: same-origin`, or `none`: typed in, a bookmark | yes |
/// | `Sec-Fetch-Site` with anything else | only GET and HEAD with `Sec-Fetch-Mode: navigate` and `Sec-Fetch-Dest: document` |
/// | only the site's own `Origin` | yes |
/// | only a `Referer` that is the site's own | yes |
/// | only a foreign `Referer` | no: it may be a link, and may be a frame |
/// | none of these, and it is a browser (`User-Agent: Mozilla/…`) | only GET and HEAD with `Upgrade-Insecure-Requests: 1`, by which browsers mark navigations |
/// | none of these: no browser but a program, which does what its user wants | yes |
///
/// A field that is there twice, or says what is not known, makes it *no*; so does a page that is loaded ahead for a
/// foreign one.
#[must_use]
pub fn may_sign(method: &Method, fields: &HeaderMap, own: &Authority) -> bool {
    let Some(signs) = Signs::read(fields) else {
        return false;
    };
    let origin = format!("http://{own}");
    if signs.origin.is_some_and(|said| said != origin) {
        return false;
    }
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match signs.site {
        Some("same-origin" | "none") => true,
        Some("same-site" | "cross-site") => {
            let is_top_level = (signs.mode, signs.dest) == (Some("navigate"), Some("document"));
            is_read && is_top_level && !signs.is_ahead && signs.origin.is_none()
        }
        Some(_) => false,
        // A browser that says the one says the other.
        None if signs.mode.is_some() || signs.dest.is_some() => false,
        None if signs.origin.is_some() => true,
        None if signs
            .referer
            .is_some_and(|referer| is_within(referer, &origin)) =>
        {
            true
        }
        // A link there or a frame: without fetch metadata nobody can tell.
        None if signs.referer.is_some() => false,
        None if signs.is_browser => is_read && signs.is_navigation && !signs.is_ahead,
        None => !signs.is_ahead,
    }
}

/// What the fields say of who caused the request.
struct Signs<'a> {
    site: Option<&'a str>,
    mode: Option<&'a str>,
    dest: Option<&'a str>,
    origin: Option<&'a str>,
    referer: Option<&'a str>,
    is_browser: bool,
    is_navigation: bool,
    is_ahead: bool,
}

impl<'a> Signs<'a> {
    /// Reads them; `None` where one is there twice or is no text.
    fn read(fields: &'a HeaderMap) -> Option<Self> {
        let once = |name: HeaderName| -> Option<Option<&'a str>> {
            let mut values = fields.get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => Some(None),
                (Some(value), None) => Some(Some(value.to_str().ok()?.trim())),
                (Some(_), Some(_)) => None,
            }
        };
        let mut agents = fields.get_all(USER_AGENT).iter();
        Some(Self {
            site: once(SITE)?,
            mode: once(MODE)?,
            dest: once(DEST)?,
            origin: once(ORIGIN)?,
            referer: once(REFERER)?,
            is_navigation: once(UPGRADE_INSECURE_REQUESTS)? == Some("1"),
            is_browser: agents.any(|agent| {
                let agent = agent.as_bytes();
                agent.len() >= 8 && agent.iter().take(8).eq(b"Mozilla/")
            }),
            is_ahead: AHEAD.iter().any(|name| fields.contains_key(name)),
        })
    }
}

/// Whether a URL is one of an origin.
fn is_within(url: &str, origin: &str) -> bool {
    let rest = url.strip_prefix(origin);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
