//! What a proxy changes in a message: RFC 9110, section 7.6, and the `X-Forwarded-*` headers.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Uri, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The headers that mean one connection only. `Trailer` is not among them: it announces what a receiver may see.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What is known about the client, for the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) client: IpAddr,
    /// Whether what the client says about whom it speaks for is believed: it is another proxy of ours.
    pub(super) trusted: bool,
}

/// The protocol that the client wants to switch to, if that can be passed on.
///
/// HTTP/2 by upgrade cannot: all requests after the first would go around the proxy.
pub(super) fn upgrade_wanted(request: &Parts) -> Option<HeaderValue> {
    if request.version != Version::HTTP_11 || !lists(&request.headers, &CONNECTION, "upgrade") {
        return None;
    }
    let protocol = request.headers.get(UPGRADE)?;
    let tokens = protocol.to_str().ok()?.split(',').map(str::trim);
    let passable = tokens.clone().all(|token| !token.is_empty() && !token.eq_ignore_ascii_case("h2c"));
    passable.then(|| protocol.clone())
}

/// Whom the request is for. The authority of the request line goes before the header: RFC 9112, section 3.2.2.
/// `None` for HTTP/1.0, which need not say.
///
/// # Errors
/// Why the request cannot be passed on.
pub(super) fn host(request: &Parts) -> Result<Option<HeaderValue>, &'static str> {
    if let Some(authority) = request.uri.authority() {
        let text = authority.as_str();
        let without_user = text.rsplit_once('@').map_or(text, |(_, host)| host);
        return HeaderValue::from_str(without_user).map(Some).map_err(|_| "the request's authority is not valid");
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(Some(host.clone())),
        (None, _) if request.version == Version::HTTP_10 => Ok(None),
        (None, _) => Err("the request has no Host header"),
        (Some(_), Some(_)) => Err("the request has more than one Host header"),
    }
}

/// Turns a client's request into one for the slot.
pub(super) fn prepare_request(
    request: &mut Parts,
    host: Option<HeaderValue>,
    origin: Origin,
    upgrade: Option<HeaderValue>,
    body_of_unknown_length: bool,
) {
    let wants_trailers = lists(&request.headers, &TE, "trailers");
    remove_hop_by_hop(&mut request.headers);
    // hyper has answered it, or will when the body is asked for.
    request.headers.remove(EXPECT);
    forwarded(&mut request.headers, origin, host.as_ref());
    join_cookies(&mut request.headers);

    let headers = &mut request.headers;
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    if body_of_unknown_length {
        // Said outright, since a GET with a body of unknown length would otherwise be sent without it.
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let path = request.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    request.uri = Uri::from(path);
    request.version = Version::HTTP_11;
    request.extensions.clear();
}

/// Turns a slot's response into one for the client.
pub(super) fn prepare_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Turns a slot's 101 into one for the client.
pub(super) fn prepare_upgrade(headers: &mut HeaderMap) {
    let protocol = headers.get(UPGRADE).cloned();
    remove_hop_by_hop(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(listed) = headers.get(CONNECTION) {
        let is_plain = |text: &str| text.eq_ignore_ascii_case("keep-alive") || text.eq_ignore_ascii_case("close");
        if headers.get_all(CONNECTION).iter().nth(1).is_some() || !listed.to_str().is_ok_and(is_plain) {
            remove_listed(headers);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes the headers that `Connection` names.
fn remove_listed(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let names: Vec<HeaderName> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// Says who asks, by which protocol, and for which host. What an untrusted client says about that is dropped.
fn forwarded(headers: &mut HeaderMap, origin: Origin, host: Option<&HeaderValue>) {
    let client = origin.client.to_canonical().to_string();
    if !origin.trusted {
        for name in [FORWARDED, X_REAL_IP, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
            headers.remove(name);
        }
    }
    let before = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let chain = before.chain([client.as_str()]).collect::<Vec<_>>().join(", ");
    if let Ok(chain) = HeaderValue::try_from(chain) {
        headers.insert(X_FORWARDED_FOR, chain);
    }
    if let Entry::Vacant(proto) = headers.entry(X_FORWARDED_PROTO) {
        proto.insert(HeaderValue::from_static("http"));
    }
    if let (Entry::Vacant(entry), Some(host)) = (headers.entry(X_FORWARDED_HOST), host) {
        entry.insert(host.clone());
    }
}

/// HTTP/2 may split cookies into several headers, HTTP/1.1 may not: RFC 9113, section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let joined = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a header that is a list of tokens holds this one.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|have| have.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const CLIENT: Origin = Origin { client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)), trusted: false };

    fn request(uri: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn prepared(uri: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut parts = request(uri, version, headers);
        let host = host(&parts).unwrap();
        prepare_request(&mut parts, host, CLIENT, None, false);
        parts
    }

    fn text<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
        parts.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn headers_of_one_connection_are_removed_with_all_that_connection_names() {
        let parts = prepared(
            "/",
            Version::HTTP_11,
            &[
                ("host", "shop"),
                ("connection", "close, X-Secret"),
                ("connection", "x-other"),
                ("x-secret", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic x"),
                ("te", "gzip, trailers"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("accept", "*/*"),
                ("trailer", "x-sum"),
            ],
        );
        let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = ["accept", "host", "te", "trailer", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(names, expected);
        assert_eq!(text(&parts, "te"), Some("trailers"));
    }

    #[test]
    fn a_client_cannot_strip_what_the_proxy_adds() {
        let parts = prepared(
            "/",
            Version::HTTP_11,
            &[("host", "shop"), ("connection", "host, x-forwarded-for, x-forwarded-host")],
        );
        assert_eq!(text(&parts, "host"), Some("shop"));
        assert_eq!(text(&parts, "x-forwarded-for"), Some("10.0.0.9"));
        assert_eq!(text(&parts, "x-forwarded-host"), Some("shop"));
    }

    #[test]
    fn what_a_client_says_about_others_is_believed_only_when_it_is_trusted() {
        let said = [
            ("host", "shop"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
        ];
        let parts = prepared("/", Version::HTTP_11, &said);
        assert_eq!(text(&parts, "x-forwarded-for"), Some("10.0.0.9"));
        assert_eq!(text(&parts, "x-forwarded-proto"), Some("http"));
        assert_eq!(text(&parts, "x-forwarded-host"), Some("shop"));
        assert_eq!((text(&parts, "forwarded"), text(&parts, "x-real-ip")), (None, None));

        let mut parts = request("/", Version::HTTP_11, &said);
        prepare_request(&mut parts, None, Origin { trusted: true, ..CLIENT }, None, false);
        assert_eq!(text(&parts, "x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 10.0.0.9"));
        assert_eq!(text(&parts, "x-forwarded-proto"), Some("https"));
        assert_eq!(text(&parts, "x-forwarded-host"), Some("public"));
        assert_eq!(text(&parts, "forwarded"), Some("for=1.1.1.1"));
    }

    #[test]
    fn the_host_is_passed_through_and_the_request_line_goes_before_the_header() {
        let parts = prepared("/a?b", Version::HTTP_11, &[("host", "shop.example:8080")]);
        assert_eq!((text(&parts, "host"), parts.uri.to_string()), (Some("shop.example:8080"), "/a?b".to_owned()));
        let parts = prepared("http://user@real.example/a?b", Version::HTTP_11, &[("host", "other")]);
        assert_eq!((text(&parts, "host"), parts.uri.to_string()), (Some("real.example"), "/a?b".to_owned()));
        let parts = prepared("http://real.example", Version::HTTP_2, &[]);
        assert_eq!((text(&parts, "host"), parts.uri.to_string()), (Some("real.example"), "/".to_owned()));
        assert_eq!(host(&request("/", Version::HTTP_10, &[])).unwrap(), None);
        for hosts in [&[][..], &[("host", "a"), ("host", "b")]] {
            host(&request("/", Version::HTTP_11, hosts)).unwrap_err();
        }
    }

    #[test]
    fn an_upgrade_to_http_2_is_not_passed_on() {
        let wanted = |version, connection, upgrade| {
            let headers = [("host", "a"), ("connection", connection), ("upgrade", upgrade)];
            upgrade_wanted(&request("/", version, &headers)).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(wanted(Version::HTTP_11, "keep-alive, Upgrade", "websocket").as_deref(), Some("websocket"));
        assert_eq!(wanted(Version::HTTP_11, "upgrade, http2-settings", "h2c"), None);
        assert_eq!(wanted(Version::HTTP_11, "upgrade", "websocket, H2C"), None);
        assert_eq!(wanted(Version::HTTP_11, "close", "websocket"), None);
        assert_eq!(wanted(Version::HTTP_10, "upgrade", "websocket"), None);
    }

    #[test]
    fn split_cookies_are_joined() {
        let parts = prepared("http://a/", Version::HTTP_2, &[("cookie", "a=1"), ("cookie", "b=2")]);
        assert_eq!(parts.headers.get_all("cookie").iter().count(), 1);
        assert_eq!(text(&parts, "cookie"), Some("a=1; b=2"));
    }
}
