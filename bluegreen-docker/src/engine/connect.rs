//! The connection to an engine, through the tunnel of its host.

use std::sync::Arc;

use bluegreen_core::{Error, ErrorKind, Host, Result, Tunnel};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::client_settings::Certificates;
use super::failure::engine_error;
use super::{Address, ClientSettings, Connected, Engine};

/// In seconds, and as good as none: each request has its own limit, and so has each silence in an answer of many parts.
const NO_TIMEOUT: u64 = 24 * 60 * 60;

pub(super) async fn connect(engine: &Engine) -> Result<Connected> {
    let settings = ClientSettings::of(&engine.host, engine.given.as_deref()).await?;
    let (server, found) = match &settings.address {
        Address::Ssh { server, socket } => behind_ssh(engine, server, socket.as_deref()).await?,
        _ => (Arc::clone(&engine.host), settings.clone()),
    };
    let wanted = found.address.for_tunnel().ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("{server} names the engine of yet another server: {}", found.address),
        )
    })?;
    let tunnel = server.tunnel(&wanted).await?;
    let reached_at = Address::of_tunnel(tunnel.address());
    let is_direct = tunnel.address() == wanted;
    let reached = Reached { server, settings, reached_at, tunnel };
    if let Some(certificates) = found.certificates {
        if !is_direct {
            return Err(Error::new(ErrorKind::Unsupported, "an engine with TLS cannot be reached through a tunnel")
                .with("address", &found.address)
                .with_hint(
                    "name the engine's own socket on that host: Engine::on(host).address(\"unix:///var/run/docker.sock\")",
                ));
        }
        return with_tls(reached, &wanted, &certificates).await;
    }
    let docker = match reached.tunnel.address().strip_prefix("unix:") {
        Some(path) => Docker::connect_with_unix(path, NO_TIMEOUT, API_DEFAULT_VERSION),
        None => Docker::connect_with_http(reached.tunnel.address(), NO_TIMEOUT, API_DEFAULT_VERSION),
    };
    Ok(reached.by(negotiate(docker.map_err(engine_error)?).await?))
}

/// The server that `ssh://` names, and where its engine listens: as the `docker` command there would find it.
async fn behind_ssh(engine: &Engine, server: &str, socket: Option<&str>) -> Result<(Arc<dyn Host>, ClientSettings)> {
    let Some(connect) = &engine.over_ssh else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the engine is that of the server {server}, behind SSH"),
        )
        .with_hint(
            "say how servers are reached: Engine::local().over_ssh(|server| SshHost::builder(server).build()), with \
                 bluegreen-ssh",
        ));
    };
    let there = connect(server)?;
    let socket = socket.map(|path| format!("unix://{path}"));
    let settings = ClientSettings::of(&there, socket.as_deref()).await?;
    Ok((there, settings))
}

/// All but the client.
struct Reached {
    server: Arc<dyn Host>,
    settings: ClientSettings,
    reached_at: Address,
    tunnel: Tunnel,
}

impl Reached {
    fn by(self, docker: Docker) -> Connected {
        let Self { server, settings, reached_at, tunnel } = self;
        Connected {
            docker,
            server,
            settings,
            reached_at,
            _tunnel: tunnel,
            #[cfg(feature = "tls")]
            _certificates: None,
        }
    }
}

async fn negotiate(docker: Docker) -> Result<Docker> {
    super::quick("agree on the version of the engine's interface", docker.negotiate_version()).await
}

#[cfg(not(feature = "tls"))]
async fn with_tls(reached: Reached, _: &str, _: &Certificates) -> Result<Connected> {
    Err(Error::new(ErrorKind::Unsupported, "the engine wants TLS")
        .with("address", &reached.reached_at)
        .with_hint("build bluegreen-docker with its feature `tls`"))
}

/// The client library reads certificates from files of this machine, so those of the host are brought here.
#[cfg(feature = "tls")]
async fn with_tls(reached: Reached, address: &str, certificates: &Certificates) -> Result<Connected> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let folder = tempfile::tempdir()?;
    for (file, name) in [(&certificates.ca, "ca"), (&certificates.certificate, "cert"), (&certificates.key, "key")] {
        let Some(bytes) = reached.server.read(file).await? else {
            return Err(Error::new(ErrorKind::NotFound, "a certificate for the engine is missing").with("path", file));
        };
        bluegreen_core::durable::replace(&folder.path().join(name), &bytes, 0o600)?;
    }
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| folder.path().join(name));
    let docker = Docker::connect_with_ssl(address, &key, &cert, &ca, NO_TIMEOUT, API_DEFAULT_VERSION);
    let docker = negotiate(docker.map_err(engine_error)?).await?;
    Ok(Connected { _certificates: Some(folder), ..reached.by(docker) })
}
