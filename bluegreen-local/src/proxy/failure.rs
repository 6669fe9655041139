//! Why a request could not be answered by its slot, and what the client is told instead.

use std::fmt;
use std::io;

use bluegreen_core::Slot;
use rustix::io::Errno;

/// Why the slot did not answer. These count against it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be opened.
    Connect(io::Error),
    /// Opening a connection took too long.
    ConnectTimeout,
    /// The connection ended.
    Ended,
    /// What came back was not HTTP, or its head was too large.
    Malformed(&'static str),
    /// Nothing came back in time.
    ResponseTimeout,
    /// It switched to another protocol without being asked to.
    UnexpectedUpgrade,
}

impl Failure {
    fn status(&self) -> u16 {
        match self {
            Self::Connect(_) | Self::Ended | Self::Malformed(_) | Self::UnexpectedUpgrade => 502,
            Self::ConnectTimeout | Self::ResponseTimeout => 504,
        }
    }

    /// The error type that RFC 9209 registers for it.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection_refused",
            Self::Connect(_) => "destination_unavailable",
            Self::ConnectTimeout => "connection_timeout",
            Self::Malformed(_) => "http_protocol_error",
            Self::Ended => "connection_terminated",
            Self::ResponseTimeout => "http_response_timeout",
            Self::UnexpectedUpgrade => "http_upgrade_failed",
        }
    }

    /// What the client is told. It says nothing about addresses; those are in the log.
    pub(super) fn refusal(&self, slot: Slot) -> Refusal {
        Refusal { status: self.status(), error_type: self.error_type(), why: format!("the {slot} slot: {self}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused",
            Self::Connect(_) => "cannot be reached",
            Self::ConnectTimeout => "no connection within the time limit",
            Self::Malformed(why) => return write!(f, "the answer was not HTTP: {why}"),
            Self::Ended => "the connection ended before the answer",
            Self::ResponseTimeout => "no answer within the time limit",
            Self::UnexpectedUpgrade => "it switched protocols without being asked",
        })
    }
}

/// Whether an answer with this status is a failure of the slot.
///
/// 501 and 510 are what a server says to a method or to an extension that it does not know (RFC 9110, section 15.6.2; RFC
/// 2774, section 7), so that any client can have them at will, and make a release look bad. A 501 to a GET is the slot's
/// all the same: no server may lack that method. So is 505: the version that the slot sees is always the proxy's own.
pub(super) fn is_failure(status: u16, is_get: bool) -> bool {
    match status {
        501 => is_get,
        510 => false,
        _ => status >= 500,
    }
}

/// Whether a connection could not be opened for want of something on our side: descriptors, memory, ports.
pub(super) fn is_our_lack(error: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|error| ours.contains(&error))
}

/// An answer of the proxy itself.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    error_type: &'static str,
    why: String,
}

impl Refusal {
    /// Nothing is routed yet.
    pub(super) fn nothing_routed() -> Self {
        Self::new(503, "destination_unavailable", "no slot takes traffic yet")
    }

    /// All connections that the limits allow are in use.
    pub(super) fn no_connection_left() -> Self {
        Self::new(503, "connection_limit_reached", "all connections to the slots are in use")
    }

    /// The request is not one that can be passed on.
    pub(super) fn bad_request(why: &str) -> Self {
        Self::new(400, "http_request_error", why)
    }

    /// The client took too long to send its request.
    pub(super) fn request_timeout() -> Self {
        Self::new(408, "http_request_error", "the request did not come within the time limit")
    }

    /// The head of the request is too large.
    pub(super) fn head_too_large(why: &str) -> Self {
        Self::new(431, "http_request_error", why)
    }

    /// The method makes no sense here.
    pub(super) fn not_implemented(why: &str) -> Self {
        Self::new(501, "http_request_denied", why)
    }

    fn new(status: u16, error_type: &'static str, why: &str) -> Self {
        Self { status, error_type, why: why.to_owned() }
    }

    /// The answer, told from one of the service by its `Proxy-Status`: RFC 9209.
    pub(super) fn answer(&self, minor: u8, is_head: bool, keep_alive: bool, slot: Option<(&str, Slot)>) -> Vec<u8> {
        let Self { status, error_type, why } = self;
        let reason = match status {
            400 => "Bad Request",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            _ => "Gateway Timeout",
        };
        let text = format!("{status} {reason}: bluegreen-proxy: {why}\n");
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let slot = slot.map(|(name, slot)| format!("{name}: {slot}\r\n")).unwrap_or_default();
        let connection = match (minor, keep_alive) {
            (1, true) => "",
            (_, true) => "connection: keep-alive\r\n",
            (_, false) => "connection: close\r\n",
        };
        let mut answer = format!(
            "HTTP/1.{minor} {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\nproxy-status: bluegreen-proxy; error={error_type}\r\ndate: {date}\r\n{slot}{connection}\r\n",
            text.len()
        );
        if !is_head {
            answer.push_str(&text);
        }
        answer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_client_can_have_at_will_is_no_failure_of_the_slot() {
        let fail = |is_get| (100..1000).filter(move |status| is_failure(*status, is_get));
        assert!(fail(true).eq((500..1000).filter(|status| *status != 510)));
        assert!(fail(false).eq((500..1000).filter(|status| ![501, 510].contains(status))));
    }

    #[test]
    fn a_lack_of_descriptors_or_ports_is_ours_and_no_failure_of_the_slot() {
        let is_ours = |error: Errno| is_our_lack(&io::Error::from(error));
        assert!([Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].into_iter().all(is_ours));
        assert!(![Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT].into_iter().any(is_ours));
    }
}
