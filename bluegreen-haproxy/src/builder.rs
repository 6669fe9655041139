use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Host, Ownership, PerSlot, Result, host_port};
use tokio::sync::OnceCell;

use crate::balancer::Balancer;
use crate::members::Members;
use crate::name::Name;
use crate::park::Park;
use crate::router::HaproxyRouter;
use crate::socket::Socket;

/// Default for the runtime socket: where Debian's configuration has it.
pub const DEFAULT_SOCKET: &str = "/run/haproxy/admin.sock";

/// Default for how long HAProxy may take to answer: 5 s. It answers within a millisecond, and the rest is for the way there.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Default for how long `slowstart` may keep a share back before a shift fails: 60 s.
pub const DEFAULT_CONFIRM_DEADLINE: Duration = Duration::from_secs(60);

/// Makes a [`HaproxyRouter`].
#[derive(Debug)]
#[must_use]
pub struct HaproxyRouterBuilder {
    host: Arc<dyn Host>,
    backend: String,
    socket: String,
    servers: Option<PerSlot<Vec<String>>>,
    endpoint: Option<String>,
    hosts: BTreeMap<String, IpAddr>,
    park: Park,
    state_directory: Option<String>,
    state_file: bool,
    timeout: Duration,
    confirm_deadline: Duration,
}

impl HaproxyRouter {
    /// A router of this backend of the HAProxy on this host. Nothing is asked yet.
    ///
    /// ```
    /// use bluegreen_core::LocalHost;
    /// use bluegreen_haproxy::HaproxyRouter;
    ///
    /// let router = HaproxyRouter::builder(LocalHost::new(), "shop").socket("/run/haproxy/admin.sock").build()?;
    /// assert_eq!(router.to_string(), "HAProxy backend shop on this machine");
    /// # Ok::<(), bluegreen_core::Error>(())
    /// ```
    pub fn builder(host: impl Host, backend: impl Into<String>) -> HaproxyRouterBuilder {
        HaproxyRouterBuilder {
            host: Arc::new(host),
            backend: backend.into(),
            socket: DEFAULT_SOCKET.to_owned(),
            servers: None,
            endpoint: None,
            hosts: BTreeMap::new(),
            park: Park::default(),
            state_directory: None,
            state_file: false,
            timeout: DEFAULT_TIMEOUT,
            confirm_deadline: DEFAULT_CONFIRM_DEADLINE,
        }
    }
}

impl HaproxyRouterBuilder {
    /// Sets the runtime socket, as seen from the host: an absolute path, or `host:port` for one that listens on TCP. Default:
    /// `/run/haproxy/admin.sock` ([`DEFAULT_SOCKET`]). It needs `level admin`.
    pub fn socket(mut self, path: impl Into<String>) -> Self {
        self.socket = path.into();
        self
    }

    /// Names the servers of blue and of green. Default: those called `blue`, `blue1`, `blue-1` and so on, and `green` likewise.
    ///
    /// ```
    /// use bluegreen_core::LocalHost;
    /// use bluegreen_haproxy::HaproxyRouter;
    ///
    /// let builder = || HaproxyRouter::builder(LocalHost::new(), "shop");
    /// assert!(builder().servers((["web1", "web2"], ["web3", "web4"])).build().is_ok());
    /// assert!(builder().servers((["web1"], ["web1"])).build().is_err(), "a server belongs to one slot");
    /// # Ok::<(), bluegreen_core::Error>(())
    /// ```
    pub fn servers<S>(mut self, names: impl Into<PerSlot<S>>) -> Self
    where
        S: IntoIterator<Item: Into<String>>,
    {
        self.servers = Some(names.into().map(|names| names.into_iter().map(Into::into).collect()));
        self
    }

    /// Which of an instance's endpoints HAProxy connects to, by name. Default: those named like its first one.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoint = Some(name.into());
        self
    }

    /// Says which address a host has as seen from HAProxy: the `host` of endpoints of a fleet, or a name in their addresses.
    ///
    /// An endpoint at `127.0.0.1:4000` on `web1` is then reached at that address and port 4000. Without it, an endpoint's own
    /// address is taken, and a loopback address of another host is refused.
    pub fn host_address(mut self, host: impl Into<String>, address: impl Into<IpAddr>) -> Self {
        self.hosts.insert(host.into(), address.into());
        self
    }

    /// What becomes of the servers of a slot without a share. Default: [`Park::Maintenance`].
    pub fn park(mut self, park: Park) -> Self {
        self.park = park;
        self
    }

    /// Where on the host the router keeps which service the backend belongs to, what the last `attach` has changed, and the state
    /// file. Default: `/var/lib/bluegreen/haproxy/<backend>`. HAProxy has to be able to read there.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.state_directory = Some(path.into());
        self
    }

    /// Writes after each change what HAProxy is to do after its next reload or restart: the file `servers` in the
    /// [state directory](Self::state_directory). The backend must read it (`load-server-state-from-file local` and
    /// `server-state-file-name`), as a [generated one](crate::HaproxyBackend::state_file) does. Default: no.
    pub fn state_file(mut self, yes: bool) -> Self {
        self.state_file = yes;
        self
    }

    /// How long HAProxy may take to answer. Default: 5 s ([`DEFAULT_TIMEOUT`]).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long `slowstart` may keep a share back before a shift to a divided split fails. Default: 60 s
    /// ([`DEFAULT_CONFIRM_DEADLINE`]).
    pub fn confirm_deadline(mut self, deadline: Duration) -> Self {
        self.confirm_deadline = deadline;
        self
    }

    /// Checks the settings and makes the router.
    ///
    /// # Errors
    /// `Config` with the value that is refused: nothing that is not a name, an address or an absolute path reaches the socket.
    pub fn build(self) -> Result<HaproxyRouter> {
        let backend = Name::new("backend", self.backend)?;
        let address = match self.socket.starts_with('/') {
            true => format!("unix:{}", path(&self.socket)?),
            false if host_port(&self.socket).is_some() => self.socket,
            false => {
                return Err(Error::config(format!("{:?} is neither an absolute path nor host:port", self.socket))
                    .with_hint("name the `stats socket` of HAProxy's configuration"));
            }
        };
        let state_directory = match self.state_directory {
            Some(directory) => path(&directory)?.trim_end_matches('/').to_owned(),
            None => format!("/var/lib/bluegreen/haproxy/{backend}"),
        };
        let socket = Socket { host: self.host, backend, address, timeout: self.timeout };
        Ok(HaproxyRouter {
            balancer: Arc::new(Balancer {
                socket,
                members: self.servers.map_or(Ok(Members::ByName), members)?,
                park: self.park,
                endpoint: self.endpoint,
                hosts: self.hosts,
                state_directory,
                keeps_state: self.state_file,
                confirm_deadline: self.confirm_deadline,
                ownership: Ownership::new(),
                has_directory: OnceCell::new(),
            }),
        })
    }
}

fn members(servers: PerSlot<Vec<String>>) -> Result<Members> {
    let names =
        |names: Vec<String>| names.into_iter().map(|name| Name::new("server", name)).collect::<Result<Vec<_>>>();
    let servers = PerSlot::new(names(servers.blue)?, names(servers.green)?);
    if servers.iter().any(Vec::is_empty) {
        return Err(Error::config("each slot needs a server"));
    }
    let mut all: Vec<_> = servers.iter().flatten().collect();
    all.sort();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::config(format!("the server {} is named twice", twice[0]))),
        None => Ok(Members::Listed(servers)),
    }
}

/// An absolute path that can stand in HAProxy's configuration and in a shell script.
pub(crate) fn path(text: &str) -> Result<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:".contains(&byte);
    match text.starts_with('/') && text.len() <= 200 && text.bytes().all(is_plain) && !text.contains("/../") {
        true => Ok(text),
        false => Err(Error::config(format!("{text:?} is not an absolute path of letters, digits and `/._-+@:`"))),
    }
}
