//! What came back, judged.

use bluegreen_core::Secret;
use bluegreen_http_client::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use bluegreen_http_client::{Response, StatusCode, Url};
use serde_json::Value;

use super::Trouble;

/// No answer of these APIs comes near.
const BODY_LIMIT: usize = 1 << 20;

/// How much of an answer an error shows, in characters.
const SHOWN: usize = 200;

/// The whole body, as text.
pub(super) async fn read(response: Response) -> Result<String, Trouble> {
    let status = response.status();
    let body = response.body(BODY_LIMIT).await.map_err(Trouble::from)?;
    if !body.complete {
        return Err(Trouble::Nonsense(format!("{status}, with more than {BODY_LIMIT} bytes")));
    }
    Ok(String::from_utf8_lossy(&body.bytes).into_owned())
}

/// JSON, or why not. An answer without a body is `null`.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, text: &str, token: &Secret) -> Result<Value, Trouble> {
    if status.is_redirection() {
        let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| Url::parse(to).ok());
        let host = to.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "another page".to_owned());
        return Err(Trouble::Redirected { status, host });
    }
    let json: Option<Value> = if text.trim().is_empty() { Some(Value::Null) } else { serde_json::from_str(text).ok() };
    match json {
        Some(json) if status.is_success() => Ok(json),
        Some(json) => {
            // DigitalOcean: {id, message}; Hetzner: {error: {code, message}}.
            let inner = json.get("error").filter(|inner| inner.is_object()).unwrap_or(&json);
            let word = |key: &str| inner.get(key).and_then(Value::as_str).map(|text| excerpt(text, token));
            let code = word("code").or_else(|| word("id")).unwrap_or_default();
            let message = word("message").unwrap_or_else(|| excerpt(text, token));
            let request = json.get("request_id").and_then(Value::as_str).map(|id| excerpt(id, token));
            Err(Trouble::Refused { status, code, message, request })
        }
        None => {
            let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
            let what = format!("{status} with {}, which is no JSON: {}", excerpt(kind, token), excerpt(text, token));
            // A proxy or a firewall says 4xx in words of its own; the API never saw the call.
            let turned_away = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
            Err(if turned_away { Trouble::TurnedAway { status, what } } else { Trouble::Nonsense(what) })
        }
    }
}

/// The start of a text on one line, without the token.
pub(super) fn excerpt(text: &str, token: &Secret) -> String {
    let masked = text.replace(token.reveal(), "***");
    let words = masked.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, text: &str) -> Trouble {
        let token = Secret::new("t0ps3cret");
        judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), text, &token).unwrap_err()
    }

    #[test]
    fn errors_of_both_clouds_are_understood() {
        let text =
            judged(422, r#"{"id":"unprocessable_entity","message":"pending event","request_id":"r1"}"#).to_string();
        assert_eq!(text, "422 Unprocessable Entity, unprocessable_entity: pending event (request r1)");
        let text = judged(423, r#"{"error":{"code":"locked","message":"busy","details":null}}"#).to_string();
        assert_eq!(text, "423 Locked, locked: busy");
    }

    #[test]
    fn an_answer_that_repeats_the_token_is_masked() {
        for text in [r#"{"id":"x","message":"bad token t0ps3cret"}"#, "<html>t0ps3cret</html>"] {
            let shown = judged(401, text).to_string();
            assert!(shown.contains("***") && !shown.contains("t0ps3cret"), "{shown}");
        }
    }

    #[test]
    fn html_says_nothing_from_a_server_and_a_refusal_from_a_proxy() {
        assert!(judged(502, "<html>bad gateway</html>").says_nothing());
        assert!(!judged(403, "<html>firewall</html>").may_be_applied());
        assert!(judged(200, "<html>hello</html>").may_be_applied());
    }
}
