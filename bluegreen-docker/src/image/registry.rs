//! What a registry says, passed on by the engine.

use bluegreen_core::{Error, ErrorKind, Result};

use super::{Reference, credentials_for};
use crate::engine::{Engine, quick};

/// The digest that the registry has for an image now. Nothing is fetched.
pub(crate) async fn digest_in_registry(engine: &Engine, reference: &Reference) -> Result<String> {
    let connected = engine.connected().await?;
    let credentials = credentials_for(engine.host(), &connected.settings.config, reference.registry()).await?;
    let what = "ask the registry for an image's digest";
    let asked = quick(what, connected.docker.inspect_registry_image(&reference.to_string(), credentials)).await;
    let found = asked.map_err(|error| registry_error(error, reference))?;
    found.descriptor.digest.ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the registry gives no digest").not_applied().with("image", reference)
    })
}

/// The engine passes a registry's refusal on as a text and, most often, with status 500.
pub(crate) fn registry_error(error: Error, reference: &Reference) -> Error {
    let text = error.message().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let unreachable = [
        "connection refused",
        "no such host",
        "i/o timeout",
        "deadline exceeded",
        "dial tcp",
        "connection reset",
        "network is unreachable",
        "eof",
        "tls handshake",
        "server misbehaving",
        "client.timeout",
        "no route to host",
    ];
    // The engine itself was not reached, or was too slow: it says nothing about the registry.
    let (kind, advice) = if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) {
        (error.kind(), "")
    } else if says(&["no space left", "disk quota exceeded"]) {
        (ErrorKind::Unexpected, "free disk space on the engine's machine: `docker system df` shows what takes it")
    } else if says(&["manifest unknown", "not found", "does not exist", "no such image", "name unknown"]) {
        (
            ErrorKind::NotFound,
            "was it pushed under this name, and may this user see it? For an image that is only on \
                               the engine's machine, set `pull_policy: never` in the compose file",
        )
    } else if says(&["unauthorized", "denied", "authentication required", "no basic auth", "forbidden"]) {
        (ErrorKind::Unauthorized, "`docker login` on that host, as the user that deploys")
    } else if says(&unreachable) {
        (ErrorKind::Unreachable, "is the registry up, and does the engine's machine reach it?")
    } else if says(&["toomanyrequests", "too many requests", "rate limit"]) {
        (ErrorKind::Unexpected, "the registry limits how often it is asked; wait, or `docker login`")
    } else {
        (error.kind(), "")
    };
    let mut explained = Error::new(kind, error.message().to_owned()).not_applied().with("image", reference);
    if let Some(tried) = error.operation() {
        explained = explained.with_operation(tried.to_owned());
    }
    if advice.is_empty() { explained.with_source(error) } else { explained.with_hint(advice) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_refuses_is_told_apart_and_changed_nothing() {
        let kinds = [
            ("manifest for x:9 not found: manifest unknown: manifest unknown", ErrorKind::NotFound),
            ("pull access denied for x, repository does not exist or may require 'docker login'", ErrorKind::NotFound),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                ErrorKind::Unreachable,
            ),
            ("unauthorized: authentication required", ErrorKind::Unauthorized),
            ("write /var/lib/docker/tmp/x: no space left on device", ErrorKind::Unexpected),
        ];
        for (text, kind) in kinds {
            let error = registry_error(Error::new(ErrorKind::Unexpected, text), &"x:9".parse().unwrap());
            assert_eq!(error.kind(), kind, "{text}");
            assert_eq!(error.effect(), bluegreen_core::Effect::NotApplied);
            assert!(error.to_string().contains("x:9"), "{error}");
        }
        let full = registry_error(Error::new(ErrorKind::Unexpected, "no space left on device"), &"x".parse().unwrap());
        assert!(full.to_string().contains("free disk space"), "{full}");
    }
}
