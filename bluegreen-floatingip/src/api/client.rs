use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use reqwest::{Client, Url, redirect};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::address::is_this_machine;

/// To connect, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Shorter than any server keeps an idle connection: a POST must not meet one that is just being closed, since nobody
/// could tell then whether it arrived.
const IDLE: Duration = Duration::from_secs(5);

/// Follows no redirect, which might lead the token astray, and repeats nothing by itself.
pub(crate) fn client_for(url: &Url) -> Result<Client> {
    let local = is_this_machine(url);
    let builder = Client::builder()
        .user_agent(concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE)
        .http1_only();
    let builder = if local { builder.no_proxy() } else { builder };
    // Without the system's certificates, which a bare container may not have.
    let tls = if url.scheme() == "http" { no_roots()? } else { system_roots()? };
    builder.tls_backend_preconfigured(tls).build().map_err(unusable)
}

/// The provider that the process has chosen, else ring, and for this client alone.
fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(chosen) => Arc::clone(chosen),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    }
}

fn system_roots() -> Result<ClientConfig> {
    let provider = provider();
    let verifier = Arc::new(Verifier::new(Arc::clone(&provider)).map_err(unusable)?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn no_roots() -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "TLS cannot be set up")
        .trying("build an HTTP client")
        .not_applied()
        .advice("are the system's CA certificates installed (Debian: package ca-certificates)?")
        .because(error)
}
