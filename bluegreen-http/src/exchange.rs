use std::time::{Duration, Instant};

use bluegreen_core::{Error, ErrorKind, Mask};
use bluegreen_http_client::header::{HeaderMap, LOCATION};
use bluegreen_http_client::{Body, Client, Method, StatusCode, Url, decoded};
use tokio::time::timeout;

/// How much of an answer's body an error shows, in characters.
const SHOWN: usize = 200;

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: usize,
}

/// What a request came to.
pub(crate) enum Outcome {
    Answered(Answer),
    Silent(Silence),
}

/// An answer with as much of its body as the limit allows.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether `body` is all of it.
    pub(crate) complete: bool,
    /// Why the body could not be decoded; it is empty then.
    pub(crate) unreadable: Option<String>,
    pub(crate) took: Duration,
}

/// No answer, or not a whole one.
pub(crate) struct Silence {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

/// Sends one request and reads its answer, within the request's timeout in all.
pub(crate) async fn exchange(client: &Client, request: Request) -> Outcome {
    let (began, limit) = (Instant::now(), request.timeout);
    let left = || limit.saturating_sub(began.elapsed());
    let sending = async {
        let mut message = client.request(request.method, &request.url)?;
        message.headers_mut().extend(request.headers);
        *message.body_mut() = request.body.unwrap_or_default().into();
        client.send(message).await
    };
    let mut response = match timeout(left(), sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let kind = if error.is_request() { ErrorKind::Config } else { ErrorKind::Unreachable };
            return Outcome::Silent(Silence { kind, text: error.to_string() });
        }
        Err(_) => {
            return Outcome::Silent(Silence {
                kind: ErrorKind::Timeout,
                text: format!("no answer within {}", shown(limit)),
            });
        }
    };
    let status = response.status();
    let headers = response.headers().clone();
    let mut body = Vec::new();
    let complete = loop {
        match timeout(left(), response.chunk()).await {
            Ok(Ok(None)) => break true,
            Ok(Ok(Some(chunk))) => {
                let room = request.body_limit - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break false;
                }
            }
            Ok(Err(error)) => {
                return Outcome::Silent(Silence {
                    kind: ErrorKind::Unreachable,
                    text: format!("answered {status}, and broke off after {} bytes: {error}", body.len()),
                });
            }
            Err(_) => {
                return Outcome::Silent(Silence {
                    kind: ErrorKind::Timeout,
                    text: format!(
                        "answered {status}, but not to the end within {} ({} bytes came)",
                        shown(limit),
                        body.len()
                    ),
                });
            }
        }
    };
    let took = began.elapsed();
    let answer = Answer { status, headers, body: Vec::new(), complete, unreadable: None, took };
    Outcome::Answered(match decoded(&answer.headers, Body { bytes: body, complete }, request.body_limit) {
        Ok(Body { bytes, complete }) => Answer { body: bytes, complete, ..answer },
        Err(why) => Answer { unreadable: Some(why), ..answer },
    })
}

impl Answer {
    /// The body as text; what is not UTF-8 is replaced by U+FFFD.
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON; `Err` says what is wrong with it.
    pub(crate) fn json(&self) -> Result<serde_json::Value, String> {
        if self.unreadable.is_some() {
            return Err("the body was not decoded".to_owned());
        }
        if !self.complete {
            return Err(format!("the body is longer than the {} bytes that are read", self.body.len()));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON ({error})"))
    }

    /// The values of a header as text, in order.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
        self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Status and start of the body, on one line, for a person.
    pub(crate) fn describe(&self, mask: &Mask) -> String {
        let mut text = self.status.to_string();
        if self.status.is_redirection()
            && let Some(location) = self.header(LOCATION.as_str()).next()
        {
            let location = one_line(&mask.apply(&location));
            text.push_str(&format!(" to `{location}` (redirects are not followed)"));
        }
        if let Some(why) = &self.unreadable {
            text.push_str(&format!(", but {why}"));
        } else if self.body.is_empty() {
            text.push_str(" with an empty body");
        } else {
            text.push_str(&format!(": `{}`", self.excerpt(mask)));
        }
        text
    }

    fn excerpt(&self, mask: &Mask) -> String {
        let text = self.text();
        let masked = if self.complete { mask.apply(&text) } else { mask.apply_to_cut(&text) };
        one_line(&masked)
    }
}

impl Silence {
    pub(crate) fn into_error(self) -> Error {
        Error::new(self.kind, self.text).not_applied()
    }
}

/// The start of a text, with runs of blanks and control characters made one blank each.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count >= SHOWN {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

/// A duration in whole milliseconds below ten seconds, else as it is.
pub(crate) fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(10) && duration.subsec_millis() != 0 {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line_without_control_characters() {
        let line = one_line("a\r\n\tb \u{1b}[31mred\0");
        assert_eq!(line, "a b [31mred");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn durations_read_naturally() {
        assert_eq!(shown(Duration::from_millis(812)), "812 ms");
        assert_eq!(shown(Duration::from_secs(4)), "4 s");
        assert_eq!(shown(Duration::from_millis(12_500)), "12.5 s");
    }
}
