//! A client's request head, and what it becomes for the slot.

use std::mem::MaybeUninit;

use httparse::Header;
use hyper::Uri;

use super::fields::{COMMON_LINES, Facts, Field, Lines, MOST_LINES, length_line, line, tokens};
use super::forwarding::{self, Origin};
use super::length::Length;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refused {
    Bad(&'static str),
    TooManyFields,
    Connect,
}

/// What the proxy has to know about a request.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Head {
    /// How many bytes it had.
    pub(in super::super) bytes: usize,
    pub(in super::super) minor: u8,
    pub(in super::super) length: Length,
    pub(in super::super) is_get: bool,
    pub(in super::super) is_head: bool,
    /// Whether it may be sent twice: RFC 9110, section 9.2.2, here also without a body.
    pub(in super::super) repeatable: bool,
    pub(in super::super) keep_alive: bool,
    pub(in super::super) expects_continue: bool,
    pub(in super::super) wants_trailers: bool,
    pub(in super::super) wants_upgrade: bool,
}

/// Decides where a request goes, from its cookies, and says at which address that is.
pub(in super::super) trait Rewrite {
    type Claim;

    fn claim<'b>(&mut self, cookies: impl Iterator<Item = &'b [u8]>) -> Option<Self::Claim>;

    fn address(claim: &Self::Claim) -> &str;
}

/// Reads a request head, and writes the one for the slot. `None`: it is not complete. A claim of `None`: there is
/// nowhere to send it.
///
/// # Errors
/// Why the request cannot be passed on.
#[allow(clippy::type_complexity, reason = "three things that are made in one go")]
pub(in super::super) fn request<R: Rewrite>(
    bytes: &[u8],
    origin: Origin,
    rewrite: &mut R,
    out: &mut Vec<u8>,
) -> Result<Option<(Head, Option<R::Claim>)>, Refused> {
    let mut lines: Lines<'_> = [const { MaybeUninit::uninit() }; COMMON_LINES];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => prepare(&parsed, length, origin, rewrite, out).map(Some),
        Err(httparse::Error::TooManyHeaders) => {
            let mut lines = vec![httparse::EMPTY_HEADER; MOST_LINES];
            let mut parsed = httparse::Request::new(&mut lines);
            match parsed.parse(bytes) {
                Ok(httparse::Status::Partial) => Ok(None),
                Ok(httparse::Status::Complete(length)) => prepare(&parsed, length, origin, rewrite, out).map(Some),
                Err(httparse::Error::TooManyHeaders) => Err(Refused::TooManyFields),
                Err(error) => Err(Refused::Bad(why(error))),
            }
        }
        Err(error) => Err(Refused::Bad(why(error))),
    }
}

fn why(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            "one of its header lines is not valid"
        }
        httparse::Error::Version => "its version is not one of HTTP/1",
        _ => "it is not HTTP",
    }
}

fn prepare<R: Rewrite>(
    parsed: &httparse::Request<'_, '_>,
    bytes: usize,
    origin: Origin,
    rewrite: &mut R,
    out: &mut Vec<u8>,
) -> Result<(Head, Option<R::Claim>), Refused> {
    let (method, target, minor) = match (parsed.method, parsed.path, parsed.version) {
        (Some(method), Some(target), Some(minor)) => (method, target, minor),
        _ => return Err(Refused::Bad("it is not HTTP")),
    };
    if method == "CONNECT" {
        return Err(Refused::Connect);
    }
    let headers: &[Header<'_>] = parsed.headers;
    let facts = Facts::read(headers).map_err(Refused::Bad)?;
    let length = facts.request_length(minor).map_err(Refused::Bad)?;
    let absolute = absolute(method, target)?;
    let path = absolute.as_ref().map_or(target, |target| target.path.as_str());
    let host = host(headers, minor)?;
    let host = absolute.as_ref().map(|target| target.authority.as_bytes()).or(host);

    let cookies = headers.iter().filter(|header| Field::of(header.name) == Field::Cookie).map(|header| header.value);
    let claim = rewrite.claim(cookies);
    let upgrade = upgrade_wanted(headers, &facts, minor, length);
    let wants_trailers = headers.iter().any(|header| {
        Field::of(header.name) == Field::Te && tokens(header.value).any(|token| token.eq_ignore_ascii_case("trailers"))
    });
    let head = Head {
        bytes,
        minor,
        length,
        is_get: method == "GET",
        is_head: method == "HEAD",
        repeatable: length == Length::Exactly(0)
            && matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
        keep_alive: !facts.close && (minor == 1 || facts.keep_alive),
        expects_continue: minor == 1
            && headers.iter().any(|header| {
                Field::of(header.name) == Field::Expect && header.value.eq_ignore_ascii_case(b"100-continue")
            }),
        wants_trailers,
        wants_upgrade: upgrade.is_some(),
    };
    let Some(claim) = claim else { return Ok((head, None)) };

    out.reserve(bytes + 256);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = host.unwrap_or_else(|| R::address(&claim).as_bytes());
    line(out, "host", host);
    fields(out, headers, &facts, origin);
    match length {
        Length::Chunked | Length::UntilEnd => line(out, "transfer-encoding", b"chunked"),
        Length::Exactly(length) => {
            if facts.stated_length().is_some() {
                length_line(out, length);
            }
        }
    }
    if wants_trailers {
        line(out, "te", b"trailers");
    }
    if let Some(protocol) = upgrade {
        line(out, "connection", b"upgrade");
        line(out, "upgrade", protocol);
    }
    forwarding::write(out, headers, origin, host);
    out.extend_from_slice(b"\r\n");
    Ok((head, Some(claim)))
}

struct Absolute {
    authority: String,
    path: String,
}

/// The target when it is more than a path. The authority of the request line goes before the header: RFC 9112,
/// section 3.2.2.
fn absolute(method: &str, target: &str) -> Result<Option<Absolute>, Refused> {
    let is_path = target.starts_with('/') && !target.contains('#');
    if is_path || (target == "*" && method == "OPTIONS") {
        return Ok(None);
    }
    let not_valid = Refused::Bad("its target is not valid");
    let uri: Uri = target.parse().map_err(|_| not_valid)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    match uri.authority() {
        Some(authority) if uri.scheme().is_some() && path.starts_with('/') => {
            let text = authority.as_str();
            let authority = text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned();
            if authority.is_empty() { Err(not_valid) } else { Ok(Some(Absolute { authority, path })) }
        }
        _ => Err(not_valid),
    }
}

/// Whom the request is for. `None` for HTTP/1.0, which need not say.
fn host<'b>(headers: &[Header<'b>], minor: u8) -> Result<Option<&'b [u8]>, Refused> {
    let mut hosts = headers.iter().filter(|header| Field::of(header.name) == Field::Host);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.value.iter().all(is_of_host) => Ok(Some(host.value)),
        (Some(_), None) => Err(Refused::Bad("its Host header is not valid")),
        (None, _) if minor == 0 => Ok(None),
        (None, _) => Err(Refused::Bad("it has no Host header")),
        (Some(_), Some(_)) => Err(Refused::Bad("it has more than one Host header")),
    }
}

/// What `uri-host [ ":" port ]` is made of: RFC 3986, section 3.2.2.
fn is_of_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

/// The protocol that the client wants to switch to, if that can be passed on.
///
/// HTTP/2 by upgrade cannot: all requests after the first would go around the proxy. Nor can it with a body: what is left
/// of that would be taken for the other protocol.
fn upgrade_wanted<'b>(headers: &[Header<'b>], facts: &Facts<'_>, minor: u8, length: Length) -> Option<&'b [u8]> {
    if minor == 0 || !facts.upgrade || length != Length::Exactly(0) {
        return None;
    }
    let protocol = headers.iter().find(|header| Field::of(header.name) == Field::Upgrade)?.value;
    let text = std::str::from_utf8(protocol).ok()?;
    let passable = text.split(',').map(str::trim).all(|token| !token.is_empty() && !token.eq_ignore_ascii_case("h2c"));
    passable.then_some(protocol)
}

fn fields(out: &mut Vec<u8>, headers: &[Header<'_>], facts: &Facts<'_>, origin: Origin) {
    let mut cookie: Option<Vec<u8>> = None;
    let cookies = headers.iter().filter(|header| Field::of(header.name) == Field::Cookie).count();
    for header in headers {
        let field = Field::of(header.name);
        if facts.drops(field, header.name) || !forwarding::passes(field, origin) {
            continue;
        }
        match field {
            // The first is written by whoever writes the request line, the second is answered here.
            Field::Host | Field::Expect => {}
            // HTTP/2 may split cookies into several headers, HTTP/1.1 may not: RFC 9113, section 8.2.3.
            Field::Cookie if cookies > 1 => match &mut cookie {
                None => cookie = Some(header.value.to_vec()),
                Some(joined) => {
                    joined.extend_from_slice(b"; ");
                    joined.extend_from_slice(header.value);
                }
            },
            _ => line(out, header.name, header.value),
        }
    }
    if let Some(cookie) = cookie {
        line(out, "cookie", &cookie);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const CLIENT: Origin = Origin { client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)), trusted: false };

    struct Fixed;

    impl Rewrite for Fixed {
        type Claim = ();

        fn claim<'b>(&mut self, _cookies: impl Iterator<Item = &'b [u8]>) -> Option<()> {
            Some(())
        }

        fn address((): &()) -> &str {
            "127.0.0.1:1"
        }
    }

    fn try_request(text: &str, origin: Origin) -> Result<(Head, String), Refused> {
        let mut out = Vec::new();
        let (head, _) = request(text.as_bytes(), origin, &mut Fixed, &mut out)?.unwrap();
        Ok((head, String::from_utf8(out).unwrap()))
    }

    fn sent(line: &str, headers: &[(&str, &str)], origin: Origin) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        try_request(&format!("{line}\r\n{lines}\r\n"), origin).unwrap().1
    }

    fn value<'t>(sent: &'t str, name: &str) -> Option<&'t str> {
        let mut found = sent.lines().filter_map(|line| line.split_once(": ")).filter(|(have, _)| *have == name);
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "{name} is there more than once: {sent}");
        value
    }

    #[test]
    fn headers_of_one_connection_are_removed_with_all_that_connection_names() {
        let sent = sent(
            "GET / HTTP/1.1",
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
            CLIENT,
        );
        let mut names: Vec<_> = sent.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        names.sort_unstable();
        let expected = ["accept", "host", "te", "trailer", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(names, expected);
        assert_eq!(value(&sent, "te"), Some("trailers"));
    }

    #[test]
    fn a_client_cannot_strip_what_the_proxy_adds() {
        let headers = [("host", "shop"), ("connection", "host, x-forwarded-for, x-forwarded-host, content-length")];
        let sent = sent("GET / HTTP/1.1", &headers, CLIENT);
        assert_eq!(value(&sent, "host"), Some("shop"));
        assert_eq!(value(&sent, "x-forwarded-for"), Some("10.0.0.9"));
        assert_eq!(value(&sent, "x-forwarded-host"), Some("shop"));
    }

    #[test]
    fn what_a_client_says_about_others_is_believed_only_when_it_is_trusted() {
        // Written out anew: a name that is lost from the lists of the source must show here.
        const OTHERS: [&str; 30] = [
            "cf-connecting-ip",
            "client-ip",
            "fastly-client-ip",
            "forwarded",
            "forwarded-for",
            "front-end-https",
            "true-client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-envoy-external-address",
            "x-forwarded",
            "x-forwarded-by",
            "x-forwarded-client-cert",
            "x-forwarded-email",
            "x-forwarded-path",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-scheme",
            "x-forwarded-server",
            "x-forwarded-ssl",
            "x-forwarded-uri",
            "x-forwarded-user",
            "x-host",
            "x-original-forwarded-for",
            "x-original-host",
            "x-original-url",
            "x-real-ip",
            "x-rewrite-url",
            "x-scheme",
            "x-url-scheme",
        ];
        let written = [
            ("host", "shop"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public"),
        ];
        let said = |spelled: fn(&str) -> String| {
            let names: Vec<_> = OTHERS.into_iter().map(spelled).collect();
            let listed = OTHERS.join(", ");
            let others = names.iter().map(|name| (name.as_str(), "forged"));
            let all: Vec<_> = written.into_iter().chain([("connection", listed.as_str())]).chain(others).collect();
            (sent("GET / HTTP/1.1", &all, CLIENT), sent("GET / HTTP/1.1", &all, Origin { trusted: true, ..CLIENT }))
        };
        let (plain, trusted) = said(str::to_owned);
        assert_eq!(value(&plain, "x-forwarded-for"), Some("10.0.0.9"));
        assert_eq!(value(&plain, "x-forwarded-proto"), Some("http"));
        assert_eq!(value(&plain, "x-forwarded-host"), Some("shop"));
        assert!(!plain.contains("forged"), "{plain}");

        assert_eq!(value(&trusted, "x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 10.0.0.9"));
        assert_eq!(value(&trusted, "x-forwarded-proto"), Some("https"));
        assert_eq!(value(&trusted, "x-forwarded-host"), Some("public"));
        for name in OTHERS {
            assert_eq!(value(&trusted, name), Some("forged"), "{name} cannot be struck out by a Connection header");
        }

        assert!(!said(str::to_ascii_uppercase).0.contains("forged"));
        // With an underscore it is not the name that the trusted client had checked. `forwarded` has no hyphen.
        let (plain, trusted) = said(|name| name.replace('-', "_"));
        assert!(!plain.contains("forged"), "{plain}");
        assert_eq!(trusted.matches("forged").count(), 1, "{trusted}");
        let kept = sent("GET / HTTP/1.1", &[("host", "shop"), ("x-forwarder", "1"), ("x-hosted_by", "2")], CLIENT);
        assert_eq!((value(&kept, "x-forwarder"), value(&kept, "x-hosted_by")), (Some("1"), Some("2")));
    }

    #[test]
    fn the_host_is_passed_through_and_the_request_line_goes_before_the_header() {
        let first = |sent: &str| sent.lines().next().unwrap().to_owned();
        let plain = sent("GET /a?b HTTP/1.1", &[("host", "shop.example:8080")], CLIENT);
        assert_eq!((value(&plain, "host"), first(&plain)), (Some("shop.example:8080"), "GET /a?b HTTP/1.1".to_owned()));
        let plain = sent("GET http://user@real.example/a?b HTTP/1.1", &[("host", "other")], CLIENT);
        assert_eq!((value(&plain, "host"), first(&plain)), (Some("real.example"), "GET /a?b HTTP/1.1".to_owned()));
        let plain = sent("OPTIONS * HTTP/1.1", &[("host", "a")], CLIENT);
        assert_eq!(first(&plain), "OPTIONS * HTTP/1.1");
        let plain = sent("GET / HTTP/1.0", &[], CLIENT);
        assert_eq!(value(&plain, "host"), Some("127.0.0.1:1"));
    }

    #[test]
    fn requests_that_could_be_read_in_two_ways_are_refused() {
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        ] {
            assert!(matches!(try_request(bad, CLIENT), Err(Refused::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn an_upgrade_to_http_2_is_not_passed_on() {
        let wanted = |line, connection, upgrade| {
            let sent = sent(line, &[("host", "a"), ("connection", connection), ("upgrade", upgrade)], CLIENT);
            value(&sent, "upgrade").map(str::to_owned)
        };
        assert_eq!(wanted("GET / HTTP/1.1", "keep-alive, Upgrade", "websocket").as_deref(), Some("websocket"));
        assert_eq!(wanted("GET / HTTP/1.1", "upgrade, http2-settings", "h2c"), None);
        assert_eq!(wanted("GET / HTTP/1.1", "upgrade", "websocket, H2C"), None);
        assert_eq!(wanted("GET / HTTP/1.1", "close", "websocket"), None);
        assert_eq!(wanted("GET / HTTP/1.0", "upgrade", "websocket"), None);
    }

    #[test]
    fn split_cookies_are_joined() {
        let sent = sent("GET / HTTP/1.1", &[("host", "a"), ("cookie", "a=1"), ("cookie", "b=2")], CLIENT);
        assert_eq!(value(&sent, "cookie"), Some("a=1; b=2"));
    }

    #[test]
    fn as_many_lines_as_nginx_takes_are_taken_and_more_are_refused() {
        let with = |count: usize| {
            let lines: String = (0..count).map(|index| format!("x-{index}: 1\r\n")).collect();
            try_request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), CLIENT)
        };
        assert!(with(MOST_LINES - 1).unwrap().1.contains("x-998: 1\r\n"));
        assert_eq!(with(MOST_LINES).unwrap_err(), Refused::TooManyFields);
    }
}
