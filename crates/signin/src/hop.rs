//! Fields that are for the next hop only, and so end here (RFC 9110 section 7.6.1).

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// Removes what is for this hop only: what `Connection` names, and what has always been so, named or not.
///
/// A length that came with a transfer coding goes too (RFC 9112 section 6.3): the body is framed anew, by one of them.
pub fn remove_hop(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let of_proxies = headers
        .keys()
        .filter(|name| name.as_str().starts_with("proxy-"));
    let of_proxies: Vec<HeaderName> = of_proxies.cloned().collect();
    let always = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(of_proxies).chain(always) {
        headers.remove(name);
    }
}

/// Whether the body comes in a coding beyond `chunked`, which is not undone here and so can't be passed on.
pub fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings.any(|coding| {
        !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    })
}

/// The protocol that the sender of these fields wants to change to, or changes to.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = headers.get_all(CONNECTION).iter();
    let names = names.filter_map(|value| value.to_str().ok());
    let mut names = names.flat_map(|value| value.split(','));
    names
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
        .then(|| headers.get(UPGRADE).cloned())?
}

/// Asks for, or grants, a change to that protocol.
pub fn put_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn fields_of_this_hop_are_removed_and_no_others() {
        let mut fields = headers(&[
            ("accept", "*/*"),
            ("connection", "close, X-Secret"),
            ("connection", " x-other ,,"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic YTpi"),
            ("proxy-connection", "keep-alive"),
            ("proxy-anything", "x"),
        ]);
        remove_hop(&mut fields);
        assert_eq!(fields, headers(&[("accept", "*/*"), ("x-kept", "3")]));
    }

    #[test]
    fn body_that_is_only_chunked_is_not_coded() {
        assert!(!is_coded(&headers(&[])));
        assert!(!is_coded(&headers(&[("transfer-encoding", "Chunked ")])));
        assert!(is_coded(&headers(&[(
            "transfer-encoding",
            "gzip, chunked"
        )])));
        assert!(is_coded(&headers(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "x")
        ])));
    }

    #[test]
    fn upgrade_counts_only_where_the_connection_names_it() {
        let wanted = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        assert_eq!(upgrade(&wanted).unwrap(), "websocket");
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&headers(&[("connection", "upgrade")])), None);
    }
}
