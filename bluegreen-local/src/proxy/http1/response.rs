//! A slot's response head, and what it becomes for the client.

use std::mem::MaybeUninit;
use std::time::SystemTime;

use httparse::Header;
use hyper::header::HeaderName;

use super::body::Encoding;
use super::fields::{COMMON_LINES, Facts, Field, Lines, MOST_LINES, length_line, line};
use super::length::Length;

/// What has to be known about the request to understand the response.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Asked<'a> {
    pub(in super::super) minor: u8,
    pub(in super::super) is_head: bool,
    pub(in super::super) wants_trailers: bool,
    /// The headers that the proxy writes itself: what the slot says under these names is dropped.
    pub(in super::super) own_headers: &'a [HeaderName],
    /// Whether the client's connection may stay open.
    pub(in super::super) keep_alive: bool,
    /// Whether the rest of the request, if there is any, is read to its end whatever the slot does.
    pub(in super::super) rest_is_read: bool,
}

/// What a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// One before the real one.
    Interim,
    Switch,
    Final,
}

/// A response head.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Answer {
    /// How many bytes it had.
    pub(in super::super) bytes: usize,
    pub(in super::super) kind: Kind,
    pub(in super::super) status: u16,
    pub(in super::super) length: Length,
    pub(in super::super) encoding: Encoding,
    /// Whether the slot's connection can be used again.
    pub(in super::super) reusable: bool,
    /// Whether the client's connection can be used again.
    pub(in super::super) keep_alive: bool,
}

/// Reads a response head, and writes the one for the client, without the empty line at its end. `None`: it is not
/// complete.
///
/// # Errors
/// Why it is no response.
pub(in super::super) fn response(
    bytes: &[u8],
    asked: Asked<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Answer>, &'static str> {
    let mut lines: Lines<'_> = [const { MaybeUninit::uninit() }; COMMON_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut lines) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => prepare(&parsed, length, asked, out).map(Some),
        Err(httparse::Error::TooManyHeaders) => {
            let mut lines = vec![httparse::EMPTY_HEADER; MOST_LINES];
            let mut parsed = httparse::Response::new(&mut lines);
            match parsed.parse(bytes) {
                Ok(httparse::Status::Partial) => Ok(None),
                Ok(httparse::Status::Complete(length)) => prepare(&parsed, length, asked, out).map(Some),
                Err(_) => Err("one of its header lines is not valid"),
            }
        }
        Err(_) => Err("it is not HTTP"),
    }
}

/// What tells a client to send its body.
pub(in super::super) fn interim_continue() -> &'static [u8] {
    b"HTTP/1.1 100 Continue\r\n\r\n"
}

fn prepare(
    parsed: &httparse::Response<'_, '_>,
    bytes: usize,
    asked: Asked<'_>,
    out: &mut Vec<u8>,
) -> Result<Answer, &'static str> {
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err("it is not HTTP") };
    let headers: &[Header<'_>] = parsed.headers;
    let facts = Facts::read(headers)?;
    let kind = match status {
        101 => Kind::Switch,
        100..200 => Kind::Interim,
        200..1000 => Kind::Final,
        _ => return Err("its status is not valid"),
    };
    let bodiless = asked.is_head || status < 200 || status == 204 || status == 304;
    let length = if bodiless { Length::Exactly(0) } else { facts.response_length() };
    let encoding = match length {
        Length::Exactly(_) => Encoding::Plain,
        Length::Chunked | Length::UntilEnd if asked.minor == 0 => Encoding::Plain,
        Length::Chunked | Length::UntilEnd => Encoding::Chunked { trailers: asked.wants_trailers },
    };
    let until_end = asked.minor == 0 && !matches!(length, Length::Exactly(_));
    let reusable = (if minor == 1 { !facts.close } else { facts.keep_alive })
            && length != Length::UntilEnd
            // RFC 9112, section 6.1: chunks of a server that does not know them are in doubt.
            && !(minor == 0 && length == Length::Chunked)
            && !facts.is_ambiguous();
    // The slot has no use for the rest: the client had better not send it.
    let turns_away = status >= 400 && !reusable && !asked.rest_is_read;
    let keep_alive = asked.keep_alive && !until_end && !turns_away;
    let answer = Answer { bytes, kind, status, length, encoding, reusable, keep_alive };
    if kind == Kind::Interim {
        return Ok(answer);
    }

    out.reserve(bytes + 128);
    out.extend_from_slice(if asked.minor == 0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(parsed.reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut dated = false;
    for header in headers {
        let field = Field::of(header.name);
        dated |= field == Field::Date;
        let is_own = asked.own_headers.iter().any(|own| header.name.eq_ignore_ascii_case(own.as_str()));
        if !is_own && !facts.drops(field, header.name) {
            line(out, header.name, header.value);
        }
    }
    if kind == Kind::Switch {
        line(out, "connection", b"upgrade");
        if let Some(protocol) = headers.iter().find(|header| Field::of(header.name) == Field::Upgrade) {
            line(out, "upgrade", protocol.value);
        }
        return Ok(answer);
    }
    if !dated {
        // RFC 9110, section 6.6.1.
        line(out, "date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    }
    match (encoding, facts.stated_length()) {
        (Encoding::Chunked { .. }, _) => line(out, "transfer-encoding", b"chunked"),
        // RFC 9110, section 8.6.
        (Encoding::Plain, Some(_)) if status == 204 => {}
        (Encoding::Plain, Some(length)) if !facts.is_ambiguous() => length_line(out, length),
        (Encoding::Plain, _) => {}
    }
    match (asked.minor, answer.keep_alive) {
        (1, false) => line(out, "connection", b"close"),
        (0, true) => line(out, "connection", b"keep-alive"),
        _ => {}
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> = Asked {
        minor: 1,
        is_head: false,
        wants_trailers: false,
        own_headers: &[],
        keep_alive: true,
        rest_is_read: true,
    };

    fn answer(text: &str, asked: Asked<'_>) -> (Answer, String) {
        let mut out = Vec::new();
        let answer = response(text.as_bytes(), asked, &mut out).unwrap().unwrap();
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_length_is_told_in_one_way_and_a_connection_that_is_in_doubt_is_not_used_again() {
        let (plain, head) = answer("HTTP/1.1 200 OK\r\ndate: x\r\nContent-Length: 4\r\n\r\n", ASKED);
        assert_eq!((plain.length, plain.reusable), (Length::Exactly(4), true));
        assert_eq!(head, "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 4\r\n");
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n";
        let (both, head) = answer(both, ASKED);
        assert_eq!((both.length, both.reusable), (Length::Chunked, false));
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let (open, head) = answer("HTTP/1.1 200 OK\r\n\r\n", ASKED);
        assert_eq!((open.length, open.reusable), (Length::UntilEnd, false));
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
    }

    #[test]
    fn answers_without_a_body_have_none_whatever_they_say() {
        for (status, is_head) in [(204, false), (304, false), (200, true)] {
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\n");
            let (answer, head) = answer(&text, Asked { is_head, ..ASKED });
            assert_eq!((answer.length, answer.reusable), (Length::Exactly(0), true), "{status}");
            assert_eq!(head.contains("content-length: 4"), status != 204, "{head}");
        }
    }

    #[test]
    fn old_clients_get_no_chunks_and_keep_their_connection_only_when_the_length_is_known() {
        let old = Asked { minor: 0, ..ASKED };
        let (chunked, head) = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", old);
        assert_eq!((chunked.encoding, chunked.keep_alive), (Encoding::Plain, false));
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && !head.contains("chunked"), "{head}");
        let (plain, head) = answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", old);
        assert!(plain.keep_alive && head.contains("connection: keep-alive"), "{head}");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bad in [
            "what?\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        ] {
            assert!(response(bad.as_bytes(), ASKED, &mut Vec::new()).is_err(), "{bad}");
        }
        assert!(response(b"HTTP/1.1 200 OK\r\ncont", ASKED, &mut Vec::new()).unwrap().is_none());
    }
}
