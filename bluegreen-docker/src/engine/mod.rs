//! [`Engine`]: a Docker engine, found as the `docker` command finds it.

mod address;
mod answer;
mod client_settings;
mod connect;
mod failure;

use std::fmt;
use std::sync::Arc;

use bluegreen_core::{Host, LocalHost, Result, Tunnel};
use bollard::Docker;
use tokio::sync::OnceCell;

pub(crate) use address::Address;
pub(crate) use answer::{Answer, BUILDING, MOVING, READING};
pub(crate) use client_settings::ClientSettings;
pub(crate) use failure::{engine_error, if_found, quick, within};

/// A Docker engine. Cheap to clone; it is looked for when it is first needed.
///
/// Unless an address is given, it is the engine that the `docker` command on that host talks to: `DOCKER_HOST`, else
/// `DOCKER_CONTEXT`, else the current context of the client's `config.json`, else `unix:///var/run/docker.sock`.
///
/// An engine on a server is reached through that server's [`Host`], so that it needs no open port: give the host with
/// [`on`](Self::on), or say by [`over_ssh`](Self::over_ssh) how the server is reached that an `ssh://` names.
///
/// TCP with TLS needs the crate's feature `tls`, which installs ring as the process's default cryptography provider for
/// rustls where none is installed.
///
/// ```
/// use bluegreen_docker::Engine;
///
/// assert_eq!(Engine::local().to_string(), "the Docker engine of this machine");
/// let rootless = Engine::local().address("unix:///run/user/1000/docker.sock");
/// assert_eq!(rootless.to_string(), "the Docker engine at unix:///run/user/1000/docker.sock of this machine");
/// ```
#[derive(Clone)]
pub struct Engine {
    host: Arc<dyn Host>,
    given: Option<String>,
    over_ssh: Option<Arc<ConnectSsh>>,
    connected: Arc<OnceCell<Connected>>,
}

/// Makes the host of a server, from `[user@]host[:port]`.
type ConnectSsh = dyn Fn(&str) -> Result<Arc<dyn Host>> + Send + Sync;

pub(crate) struct Connected {
    pub(crate) docker: Docker,
    /// The machine that the engine runs on.
    server: Arc<dyn Host>,
    /// Those of the host that we were told.
    pub(crate) settings: ClientSettings,
    /// Where the engine is reached from here.
    pub(crate) reached_at: Address,
    _tunnel: Tunnel,
    #[cfg(feature = "tls")]
    _certificates: Option<tempfile::TempDir>,
}

impl Engine {
    /// The engine of this machine.
    pub fn local() -> Self {
        Self::on(LocalHost::new())
    }

    /// The engine of a host.
    pub fn on(host: impl Host) -> Self {
        Self { host: Arc::new(host), given: None, over_ssh: None, connected: Arc::default() }
    }

    /// Reaches the server that an address `ssh://[user@]host[:port][/path/of/docker.sock]` names by the host that
    /// `connect` makes of `[user@]host[:port]`. Without it, such an address is refused.
    ///
    /// The engine is then the one that the `docker` command on that server talks to, or the one behind the socket. With
    /// bluegreen-ssh:
    ///
    /// ```text
    /// let engine = Engine::local().over_ssh(|server| SshHost::builder(server).build());
    /// ```
    ///
    /// What such an engine publishes is on its server: see [`server`](Self::server).
    #[must_use]
    pub fn over_ssh<H: Host>(self, connect: impl Fn(&str) -> Result<H> + Send + Sync + 'static) -> Self {
        let connect = move |server: &str| Ok(Arc::new(connect(server)?) as Arc<dyn Host>);
        Self { over_ssh: Some(Arc::new(connect)), connected: Arc::default(), ..self }
    }

    /// The engine at this address, as seen from the host: `unix:///path`, `tcp://host:port` or `ssh://server`.
    #[must_use]
    pub fn address(self, address: impl Into<String>) -> Self {
        Self { given: Some(address.into()), connected: Arc::default(), ..self }
    }

    /// Connects now, so that an engine that is not there is found before anything else is done.
    ///
    /// # Errors
    /// `Unreachable` when no engine answers, `Unauthorized` when this user may not use it, `Config` and `NotFound`
    /// when what the client is set up with makes no sense.
    pub async fn ping(&self) -> Result<()> {
        let docker = self.docker().await?;
        let answer = quick("ask the engine whether it is there", docker.ping()).await;
        answer.map(drop).map_err(|error| error.not_applied().with("engine", self))
    }

    /// The machine that the engine runs on, where what it publishes can be reached: the server of an `ssh://`, else the
    /// host that was given. Health checks go `through` it, and a router for its nginx acts on it.
    ///
    /// # Errors
    /// Those of [`ping`](Self::ping).
    pub async fn server(&self) -> Result<Arc<dyn Host>> {
        Ok(Arc::clone(&self.connected().await?.server))
    }

    /// The same address, as seen from another host.
    pub(crate) fn moved_to(self, host: Arc<dyn Host>) -> Self {
        Self { host, connected: Arc::default(), ..self }
    }

    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    pub(crate) async fn docker(&self) -> Result<&Docker> {
        Ok(&self.connected().await?.docker)
    }

    pub(crate) async fn connected(&self) -> Result<&Connected> {
        let connect = || Box::pin(connect::connect(self));
        let connected = self.connected.get_or_try_init(connect).await;
        connected.map_err(|error| error.not_applied().with_operation("find the Docker engine").with("engine", self))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(address) => write!(f, "the Docker engine at {address} of {}", self.host),
            None => write!(f, "the Docker engine of {}", self.host),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({self})")
    }
}
