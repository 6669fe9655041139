//! Why a request could not be answered by its slot, and what the client is told instead.

use std::fmt;

use bluegreen_core::Slot;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::ResponseBody;

/// The header by which an answer of the proxy itself is told from one of the service: RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why the slot did not answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be opened.
    Connect(std::io::Error),
    /// Opening a connection took too long.
    ConnectTimeout,
    /// The connection ended, or what came back was not HTTP.
    Broken(hyper::Error),
    /// Nothing came back in time.
    ResponseTimeout,
    /// It switched to another protocol without being asked to.
    UnexpectedUpgrade,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::UnexpectedUpgrade => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The error type that RFC 9209 registers for it.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection_refused",
            Self::Connect(_) => "destination_unavailable",
            Self::ConnectTimeout => "connection_timeout",
            Self::Broken(error) if error.is_parse() => "http_protocol_error",
            Self::Broken(_) => "connection_terminated",
            Self::ResponseTimeout => "http_response_timeout",
            Self::UnexpectedUpgrade => "http_upgrade_failed",
        }
    }

    /// The answer to the client. It says nothing about addresses; those are in the log.
    pub(super) fn response(&self, slot: Slot) -> Response<ResponseBody> {
        refusal(self.status(), self.error_type(), &format!("the {slot} slot: {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "connection refused",
            Self::Connect(_) => "cannot be reached",
            Self::ConnectTimeout => "no connection within the time limit",
            Self::Broken(error) if error.is_parse() => "the answer was not HTTP",
            Self::Broken(_) => "the connection ended before the answer",
            Self::ResponseTimeout => "no answer within the time limit",
            Self::UnexpectedUpgrade => "it switched protocols without being asked",
        })
    }
}

/// The answer when nothing is routed yet.
pub(super) fn nothing_routed() -> Response<ResponseBody> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "destination_unavailable", "no slot takes traffic yet")
}

/// The answer to a request that cannot be passed on.
pub(super) fn bad_request(why: &str) -> Response<ResponseBody> {
    refusal(StatusCode::BAD_REQUEST, "http_request_error", why)
}

/// The answer to a method that makes no sense here.
pub(super) fn not_implemented(why: &str) -> Response<ResponseBody> {
    refusal(StatusCode::NOT_IMPLEMENTED, "http_request_denied", why)
}

fn refusal(status: StatusCode, error_type: &str, why: &str) -> Response<ResponseBody> {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = format!("{} {reason}: bluegreen-proxy: {why}\n", status.as_u16());
    let mut response = Response::new(ResponseBody::text(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(value) = HeaderValue::try_from(format!("bluegreen-proxy; error={error_type}")) {
        response.headers_mut().insert(PROXY_STATUS, value);
    }
    response
}
