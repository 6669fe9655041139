use std::sync::Arc;

use bluegreen_core::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

/// Trusts whom the system trusts.
pub(crate) fn connector() -> Result<TlsConnector> {
    let provider = provider()?;
    let verifier = Arc::new(Verifier::new(Arc::clone(&provider)).map_err(unusable)?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.map_err(unusable)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The provider that the process has chosen, else ring, and for this client alone: a provider installed for the whole
/// process would take that choice from the program.
fn provider() -> Result<Arc<CryptoProvider>> {
    let chosen = CryptoProvider::get_default().map(Arc::clone);
    #[cfg(feature = "ring")]
    let chosen = chosen.or_else(|| Some(Arc::new(rustls::crypto::ring::default_provider())));
    chosen.ok_or_else(|| {
        Error::config("HTTPS needs a crypto provider, and the process has none").with_operation("build an HTTP client").with_hint(
            "install one at the start of the program (`CryptoProvider::install_default`), or enable the feature `ring`",
        )
    })
}

fn unusable(error: rustls::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "TLS cannot be set up")
        .with_operation("build an HTTP client")
        .not_applied()
        .with_hint("are the system's CA certificates installed (Debian: package ca-certificates)?")
        .with_source(error)
}
