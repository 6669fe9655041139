//! The HTTP client with which nginx is asked.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::Result;
use reqwest::Client;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::error::Failure;

/// For one answer. nginx answers by itself, so that this is a long time even on a busy server.
const LIMIT: Duration = Duration::from_secs(5);

/// A connection of its own for every request, no redirects, no proxies.
pub(crate) fn client(encrypted: bool) -> Result<Client> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls(encrypted)?)
        .http1_only()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(LIMIT);
    Ok(builder.build().map_err(|error| Failure::Client(Box::new(error)))?)
}

/// The provider is named here, so that no program has to install one. The system's roots are read only where they are
/// needed: a bare container has none.
fn tls(encrypted: bool) -> Result<ClientConfig, Failure> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| Failure::Client(Box::new(error));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(failed)?;
    if !encrypted {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let verifier = Arc::new(Verifier::new(provider).map_err(failed)?);
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}
