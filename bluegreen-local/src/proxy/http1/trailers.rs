//! The fields after a chunked body, and which of them may be passed on.

use httparse::Header;

use super::fields::{Field, line};

/// Fields that decide how a message is taken, or who may do what. None of them may come after the body, nor may those that
/// mean something to a proxy: RFC 9110, section 6.5.1.
const FORBIDDEN: [&str; 8] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "max-forwards",
    "set-cookie",
    "trailer",
];

/// Writes those that may be passed on.
pub(super) fn write(out: &mut Vec<u8>, trailers: &[Header<'_>]) {
    for trailer in trailers {
        let is_allowed = !FORBIDDEN.iter().any(|name| trailer.name.eq_ignore_ascii_case(name));
        if is_allowed && Field::of(trailer.name) == Field::Other {
            line(out, trailer.name, trailer.value);
        }
    }
}
