use std::sync::{Arc, OnceLock};

use bluegreen_core::{Error, ErrorKind, Result};
use reqwest::{Client, ClientBuilder, Url, redirect};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::Verifier;

/// The client for an address: never through a proxy to an instance's endpoint or to this machine, else as the
/// environment's proxy variables say. Each request gets a connection of its own, and redirects are not followed.
pub(crate) fn client_for(url: &Url, endpoint: bool) -> Result<Client> {
    static PLAIN: OnceLock<Client> = OnceLock::new();
    static DIRECT: OnceLock<Client> = OnceLock::new();
    static PROXIED: OnceLock<Client> = OnceLock::new();

    let direct = endpoint || is_this_machine(url);
    match (direct, url.scheme()) {
        // Without the system's certificates, which a bare container may not have.
        (true, "http") => kept(&PLAIN, || build(common().no_proxy(), no_roots()?)),
        (true, _) => kept(&DIRECT, || build(common().no_proxy(), system_roots()?)),
        (false, _) => kept(&PROXIED, || build(common(), system_roots()?)),
    }
}

fn kept(cell: &OnceLock<Client>, make: impl FnOnce() -> Result<Client>) -> Result<Client> {
    match cell.get() {
        Some(client) => Ok(client.clone()),
        None => {
            let client = make()?;
            Ok(cell.get_or_init(|| client).clone())
        }
    }
}

fn common() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .http1_only()
        .retry(reqwest::retry::never())
}

fn build(builder: ClientBuilder, tls: ClientConfig) -> Result<Client> {
    builder.tls_backend_preconfigured(tls).build().map_err(unusable)
}

/// The provider that the process has chosen, else ring, and for this client alone: a provider installed for the whole
/// process would take that choice from the program.
fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(chosen) => Arc::clone(chosen),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    }
}

fn system_roots() -> Result<ClientConfig> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new(Arc::clone(&provider)).map_err(unusable)?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn no_roots() -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        None => false,
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "TLS cannot be set up")
        .trying("build an HTTP client")
        .not_applied()
        .advice("are the system's CA certificates installed (Debian: package ca-certificates)?")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_this_machine() {
        for (url, expected) in [
            ("http://127.0.0.1:80/", true),
            ("http://[::1]:80/", true),
            ("http://localhost/", true),
            ("http://10.0.0.1/", false),
            ("https://shop.example.com/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_this_machine(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
