//! The connection to an engine, through the tunnel of its host.

use std::sync::Arc;

use bluegreen_core::{Error, ErrorKind, Host, Result};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::client_settings::Certificates;
use super::failure::engine_error;
use super::{Address, ClientSettings, Connected};

/// In seconds, and as good as none: each request has its own limit.
const NO_TIMEOUT: u64 = 24 * 60 * 60;

pub(super) async fn connect(host: &Arc<dyn Host>, given: Option<&str>) -> Result<Connected> {
    let settings = ClientSettings::of(host, given).await?;
    let wanted = settings.address.for_tunnel();
    let tunnel = host.tunnel(&wanted).await?;
    let reached_at = Address::of_tunnel(tunnel.address());
    if let Some(certificates) = settings.certificates.clone() {
        if tunnel.address() != wanted {
            return Err(Error::new(ErrorKind::Unsupported, "an engine with TLS cannot be reached through a tunnel")
                .with("address", &settings.address)
                .advice(
                    "name the engine's own socket on that host: Engine::on(host).at(\"unix:///var/run/docker.sock\")",
                ));
        }
        return with_tls(host, settings, reached_at, tunnel, &certificates).await;
    }
    let docker = match &reached_at {
        Address::Unix(path) => Docker::connect_with_unix(path, NO_TIMEOUT, API_DEFAULT_VERSION),
        Address::Tcp(address) => Docker::connect_with_http(address, NO_TIMEOUT, API_DEFAULT_VERSION),
    };
    let docker = negotiate(docker.map_err(engine_error)?).await?;
    Ok(Connected {
        docker,
        settings,
        reached_at,
        _tunnel: tunnel,
        #[cfg(feature = "tls")]
        _certificates: None,
    })
}

async fn negotiate(docker: Docker) -> Result<Docker> {
    super::quick("agree on the version of the engine's interface", docker.negotiate_version()).await
}

#[cfg(not(feature = "tls"))]
async fn with_tls(
    _: &Arc<dyn Host>,
    settings: ClientSettings,
    _: Address,
    _: bluegreen_core::Tunnel,
    _: &Certificates,
) -> Result<Connected> {
    Err(Error::new(ErrorKind::Unsupported, "the engine wants TLS")
        .with("address", &settings.address)
        .advice("build bluegreen-docker with its feature `tls`"))
}

/// The client library reads certificates from files of this machine, so those of the host are brought here.
#[cfg(feature = "tls")]
async fn with_tls(
    host: &Arc<dyn Host>,
    settings: ClientSettings,
    reached_at: Address,
    tunnel: bluegreen_core::Tunnel,
    certificates: &Certificates,
) -> Result<Connected> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let folder = tempfile::tempdir()?;
    for (file, name) in [(&certificates.ca, "ca"), (&certificates.certificate, "cert"), (&certificates.key, "key")] {
        let Some(bytes) = host.read(file).await? else {
            return Err(Error::new(ErrorKind::NotFound, "a certificate for the engine is missing").with("path", file));
        };
        bluegreen_core::durable::replace(&folder.path().join(name), &bytes, 0o600)?;
    }
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| folder.path().join(name));
    let docker =
        Docker::connect_with_ssl(&settings.address.for_tunnel(), &key, &cert, &ca, NO_TIMEOUT, API_DEFAULT_VERSION);
    let docker = negotiate(docker.map_err(engine_error)?).await?;
    Ok(Connected { docker, settings, reached_at, _tunnel: tunnel, _certificates: Some(folder) })
}
