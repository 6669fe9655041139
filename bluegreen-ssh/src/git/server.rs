//! [`GitServer`]: where a slot's releases go.

use std::sync::Arc;

use bluegreen_core::{Error, Host, LocalHost, Result, host_port};

use super::remote::Remote;
use crate::SshHost;

/// A server, and the directory on it that belongs to one slot of one service.
#[derive(Debug, Clone)]
pub struct GitServer {
    pub(super) host: Arc<dyn Host>,
    pub(super) directory: String,
    pub(super) remote: Remote,
    pub(super) web_root: Option<String>,
    pub(super) address: Option<String>,
}

impl GitServer {
    /// A server that is reached by SSH, and a directory: absolute, or relative to where a login begins.
    ///
    /// `git push` uses the keys, the agent, the certificates, the `known_hosts` files and the servers in between that
    /// the host was given, and nothing else: neither `~/.ssh/config` nor a prompt.
    pub fn new(host: SshHost, directory: impl Into<String>) -> Self {
        Self::with(Arc::new(host.clone()), directory.into(), Remote::Ssh(host))
    }

    /// A directory of this machine, as an absolute path.
    pub fn local(directory: impl Into<String>) -> Self {
        Self::with(Arc::new(LocalHost::new()), directory.into(), Remote::Path)
    }

    /// Any other host, with the URL of the repository (`<directory>/repository.git` there) as this machine's git knows
    /// it: `deploy@blue.example.com:sample_app/repository.git`.
    ///
    /// `git push` then goes by the user's own `~/.ssh/config`, keys and `known_hosts`, but never asks.
    pub fn by_url(host: impl Host, directory: impl Into<String>, url: impl Into<String>) -> Self {
        Self::with(Arc::new(host), directory.into(), Remote::Url(url.into()))
    }

    fn with(host: Arc<dyn Host>, directory: String, remote: Remote) -> Self {
        Self { host, directory, remote, web_root: None, address: None }
    }

    /// Sets the path that the web server serves, as an absolute one. It becomes a symbolic link to a release; unless
    /// set it is `current` in the directory.
    #[must_use]
    pub fn web_root(mut self, path: impl Into<String>) -> Self {
        self.web_root = Some(path.into());
        self
    }

    /// Sets where the web server answers, as `host:port`. Default: port 80 of the SSH host, or of loopback where
    /// there is none.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    pub(super) fn endpoint(&self) -> String {
        match (&self.address, &self.remote) {
            (Some(address), _) => address.clone(),
            (None, Remote::Ssh(host)) => format!("{}:80", super::remote::bracketed(&host.settings().host)),
            (None, _) => "127.0.0.1:80".to_owned(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::config(what));
        let bad = |path: &str| path.is_empty() || path.contains(['\0', '\n']);
        if bad(&self.directory) || self.directory == "/" || self.directory.starts_with('-') {
            return refuse(format!("{:?} is not a directory that can belong to one service", self.directory));
        }
        if matches!(self.remote, Remote::Path) && !self.directory.starts_with('/') {
            return refuse(format!("the directory {:?} on this machine is not absolute", self.directory));
        }
        if let Some(path) = &self.web_root
            && (bad(path) || !path.starts_with('/') || path.trim_end_matches('/').is_empty() || path.ends_with('/'))
        {
            return refuse(format!("the web root {path:?} is not an absolute path without a slash at its end"));
        }
        if let Some(path) = &self.web_root
            && self.directory.starts_with(&format!("{path}/"))
        {
            return refuse(format!(
                "the directory {:?} is in the web root {path:?}, which becomes a link",
                self.directory
            ));
        }
        if let Some(address) = &self.address
            && host_port(address).is_none()
        {
            return refuse(format!("{address:?} is not an address: host:port"));
        }
        self.remote.check()
    }
}
