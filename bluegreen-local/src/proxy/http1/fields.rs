//! Header fields, and what they say about the connection: RFC 9110, section 7.6, and RFC 9112, section 6.

use std::mem::MaybeUninit;

use httparse::Header;

use super::length::Length;

/// How many header lines a message may have: nginx's `max_headers`. HAProxy takes 101 (`tune.http.maxhdr`).
pub(super) const MOST_LINES: usize = 1_000;

/// How many further fields a `Connection` header may name. Each of them is compared with each line.
const MOST_LISTED: usize = 64;

/// How many lines are parsed without memory being asked for.
pub(super) const COMMON_LINES: usize = 64;

/// Room for the lines of most messages.
pub(super) type Lines<'b> = [MaybeUninit<Header<'b>>; COMMON_LINES];

/// A field that means something to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Connection,
    ContentLength,
    Cookie,
    Date,
    /// One of the others, written with an underscore. Services that follow CGI take it for the one with a hyphen.
    Disguised,
    Expect,
    /// One in which proxies say for whom they speak, and which is not written here.
    Forwarding,
    Host,
    /// One of those that mean one connection only, and nothing to us.
    HopByHop,
    Te,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    Other,
}

/// The start of most fields in which proxies say for whom they speak.
const FORWARDED: &str = "x-forwarded";

/// The others that proxies write and services believe: who asks, by which protocol, for which host, for which path.
const FORWARDING: [&str; 15] = [
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
    "x-host",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// The start of the fields in which proxies keep what they have overwritten.
const ORIGINAL: &str = "x-original-";

impl Field {
    pub(super) fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            6 if is("cookie") => Self::Cookie,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::HopByHop,
            14 if is("content-length") => Self::ContentLength,
            15 if is("x-forwarded-for") => Self::XForwardedFor,
            16 if is("x-forwarded-host") => Self::XForwardedHost,
            16 if is("proxy-connection") => Self::HopByHop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::XForwardedProto,
            18 if is("proxy-authenticate") => Self::HopByHop,
            19 if is("proxy-authorization") => Self::HopByHop,
            _ if name.contains('_') => match Self::of(&name.replace('_', "-")) {
                Self::Other => Self::Other,
                _ => Self::Disguised,
            },
            _ if is_forwarding(name) => Self::Forwarding,
            _ => Self::Other,
        }
    }
}

fn is_forwarding(name: &str) -> bool {
    let begins = |with: &str| name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    match name.as_bytes().first() {
        Some(b'x' | b'X') if begins(FORWARDED) || begins(ORIGINAL) => true,
        Some(b'c' | b'f' | b't' | b'x' | b'C' | b'F' | b'T' | b'X') => {
            FORWARDING.iter().any(|other| name.eq_ignore_ascii_case(other))
        }
        _ => false,
    }
}

/// What the fields of one message say about its connection and the length of its body.
#[derive(Debug, Default)]
pub(super) struct Facts<'b> {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Further fields that mean this connection only.
    listed: Vec<&'b str>,
    content_length: Option<u64>,
    chunked: bool,
}

impl<'b> Facts<'b> {
    /// # Errors
    /// Why nobody can tell where the body ends.
    pub(super) fn read(headers: &[Header<'b>]) -> Result<Self, &'static str> {
        let mut facts = Self::default();
        let mut encodings = 0;
        for header in headers {
            match Field::of(header.name) {
                Field::Connection => facts.connection(header.value)?,
                Field::ContentLength => facts.content_length(header.value)?,
                Field::TransferEncoding => {
                    encodings += 1;
                    facts.chunked = header.value.eq_ignore_ascii_case(b"chunked");
                }
                _ => {}
            }
        }
        match (encodings, facts.chunked) {
            (0, _) | (1, true) => Ok(facts),
            _ => Err("its transfer encoding is not known here"),
        }
    }

    fn connection(&mut self, value: &'b [u8]) -> Result<(), &'static str> {
        for token in tokens(value) {
            match token.len() {
                5 if token.eq_ignore_ascii_case("close") => self.close = true,
                7 if token.eq_ignore_ascii_case("upgrade") => self.upgrade = true,
                10 if token.eq_ignore_ascii_case("keep-alive") => self.keep_alive = true,
                _ if self.listed.len() == MOST_LISTED => return Err("its Connection header names too many fields"),
                _ => self.listed.push(token),
            }
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        match (length, self.content_length) {
            (None, _) => Err("its Content-Length is not a number"),
            (Some(length), Some(before)) if length != before => Err("it has two different Content-Lengths"),
            (length, _) => {
                self.content_length = length;
                Ok(())
            }
        }
    }

    /// Whether the field is not passed on, since it means one connection only, or is written anew.
    pub(super) fn drops(&self, field: Field, name: &str) -> bool {
        match field {
            Field::Connection
            | Field::ContentLength
            | Field::Disguised
            | Field::HopByHop
            | Field::Te
            | Field::TransferEncoding
            | Field::Upgrade => true,
            // What a proxy has to say itself cannot be struck out by the client.
            Field::Forwarding | Field::Host | Field::XForwardedFor | Field::XForwardedHost | Field::XForwardedProto => {
                false
            }
            _ => !self.listed.is_empty() && self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(name)),
        }
    }

    /// RFC 9112, section 6.3, for a request.
    pub(super) fn request_length(&self, minor: u8) -> Result<Length, &'static str> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err("it has both a Content-Length and a Transfer-Encoding"),
            (true, None) if minor == 0 => Err("HTTP/1.0 knows no Transfer-Encoding"),
            (true, None) => Ok(Length::Chunked),
            (false, Some(length)) => Ok(Length::Exactly(length)),
            (false, None) => Ok(Length::Exactly(0)),
        }
    }

    /// RFC 9112, section 6.3, for a response that may have a body.
    pub(super) fn response_length(&self) -> Length {
        match (self.chunked, self.content_length) {
            (true, _) => Length::Chunked,
            (false, Some(length)) => Length::Exactly(length),
            (false, None) => Length::UntilEnd,
        }
    }

    /// Whether two ways to tell the length contradict each other.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.chunked && self.content_length.is_some()
    }

    pub(super) fn stated_length(&self) -> Option<u64> {
        self.content_length
    }
}

/// The tokens of a list; what is not text counts as none.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Writes one header line.
pub(in super::super) fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a length as a header line.
pub(super) fn length_line(out: &mut Vec<u8>, length: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    line(out, "content-length", &digits[at..]);
}
