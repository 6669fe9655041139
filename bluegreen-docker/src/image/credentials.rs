//! What the Docker client's `config.json` says about a registry: a password, or a helper that knows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bluegreen_core::{Command, Error, ErrorKind, Host, Result};
use bollard::auth::DockerCredentials;
use serde_json::Value;

/// The credentials for a registry; `None` where it is asked without any.
pub(crate) async fn credentials_for(
    host: &dyn Host,
    config: &Value,
    registry: &str,
) -> Result<Option<DockerCredentials>> {
    let helper = config.get("credHelpers").and_then(|helpers| helpers.get(registry)).and_then(Value::as_str);
    let helper = helper.or_else(|| config.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty());
    if let Some(helper) = helper {
        return ask(host, helper, registry).await;
    }
    let auths = config.get("auths");
    let entry = auths.and_then(|auths| auths.get(registry).or_else(|| auths.get(format!("https://{registry}"))));
    entry.map_or(Ok(None), |entry| stored(entry, registry))
}

fn stored(entry: &Value, registry: &str) -> Result<Option<DockerCredentials>> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let identitytoken = text("identitytoken");
    let (username, password) = match text("auth") {
        None => (text("username"), text("password")),
        Some(encoded) => {
            // Neither the text nor what a decoder says about it goes into the error: it is a password.
            let unreadable =
                || Error::config("the stored password of a registry cannot be read").with("registry", registry);
            let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unreadable())?;
            let decoded = String::from_utf8(decoded).map_err(|_| unreadable())?;
            let (username, password) = decoded.split_once(':').ok_or_else(unreadable)?;
            (Some(username.to_owned()), Some(password.trim_end_matches('\0').to_owned()))
        }
    };
    if username.is_none() && identitytoken.is_none() {
        return Ok(None);
    }
    let serveraddress = Some(registry.to_owned());
    Ok(Some(DockerCredentials { username, password, identitytoken, serveraddress, ..Default::default() }))
}

/// Asks a credential helper, a program on the host.
async fn ask(host: &dyn Host, helper: &str, registry: &str) -> Result<Option<DockerCredentials>> {
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(Error::config(format!("{helper:?} is not the name of a credential helper")));
    }
    let command = Command::new(format!("docker-credential-{helper}")).arg("get").stdin(registry);
    let output = host.run(&command).await.map_err(|error| error.not_applied().with("registry", registry))?;
    if !output.success() {
        // Helpers say that they know nothing on standard output, with an exit status of 1.
        if output.text().contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::new(ErrorKind::Unauthorized, format!("the helper failed with {}", output.ending()))
            .not_applied()
            .with_operation(format!("ask docker-credential-{helper} for a password"))
            .with("registry", registry));
    }
    let unreadable = || Error::new(ErrorKind::Unexpected, "a credential helper's answer makes no sense").not_applied();
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| unreadable().with("helper", helper))?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let (username, secret) = (text("Username"), text("Secret"));
    let serveraddress = Some(registry.to_owned());
    Ok(Some(match username.as_deref() {
        Some("<token>") => DockerCredentials { identitytoken: secret, serveraddress, ..Default::default() },
        _ => DockerCredentials { username, password: secret, serveraddress, ..Default::default() },
    }))
}

#[cfg(test)]
mod tests {
    use bluegreen_core::LocalHost;

    use super::*;

    #[tokio::test]
    async fn a_stored_password_is_found_under_its_registry() {
        let auth = STANDARD.encode("me:pass:word");
        let config = serde_json::json!({"auths": {"ghcr.io": {"auth": auth}, "https://x.io": {"auth": auth}}});
        for registry in ["ghcr.io", "x.io"] {
            let found = credentials_for(&LocalHost::new(), &config, registry).await.unwrap().unwrap();
            assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("me"), Some("pass:word")));
        }
        assert!(credentials_for(&LocalHost::new(), &config, "other").await.unwrap().is_none());
        assert!(credentials_for(&LocalHost::new(), &Value::Null, "ghcr.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_password_for_docker_hub_opens_its_images_however_they_are_written() {
        let hub = serde_json::json!({"auth": STANDARD.encode("me:pass:word")});
        let config = serde_json::json!({"auths": {"https://index.docker.io/v1/": hub}});
        for text in ["me/api:1", "docker.io/me/api:1", "index.docker.io/me/api:1"] {
            let reference: super::super::Reference = text.parse().unwrap();
            let found = credentials_for(&LocalHost::new(), &config, reference.registry()).await.unwrap().unwrap();
            assert_eq!(found.username.as_deref(), Some("me"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_that_cannot_be_read_is_not_shown() {
        let config = serde_json::json!({"auths": {"x": {"auth": "hunter2!"}}});
        let error = credentials_for(&LocalHost::new(), &config, "x").await.unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_named() {
        let config = serde_json::json!({"credsStore": "no-such-helper"});
        let error = credentials_for(&LocalHost::new(), &config, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("docker-credential-no-such-helper"), "{error}");
    }
}
