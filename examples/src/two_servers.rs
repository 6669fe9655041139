//! Two servers and an address, as settings describe them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use bluegreen_core::{Error, PerSlot, Result, Slot};
use bluegreen_floatingip::VipServer;
use bluegreen_ssh::{GitServer, SshHost, SshHostBuilder};
use serde::Deserialize;

/// What is deployed, and where to: see `floating-ip.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoServers {
    /// The name of the service.
    pub service: String,
    /// The git repository on this machine.
    pub repository: PathBuf,
    /// The address that moves.
    #[serde(default = "unspecified")]
    pub address: IpAddr,
    /// Where everyone reaches the service.
    pub public: String,
    /// Where the record of deploys is kept on this machine.
    pub state: PathBuf,
    /// Instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// Hetzner's number of the address.
    pub floating_ip: Option<u64>,
    /// Another address of the provider's API, for tests.
    pub api: Option<String>,
    /// Whether it takes sudo to move the address, on servers of one's own.
    #[serde(default)]
    pub sudo: bool,
    /// The server of blue.
    pub blue: Server,
    /// The server of green.
    pub green: Server,
}

/// One server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// As one would give it to ssh; this machine unless set.
    pub ssh: Option<String>,
    /// The directory on it that belongs to the service.
    pub directory: String,
    /// `host:port` of its web server.
    pub web: String,
    /// The cloud's number of it.
    pub id: Option<u64>,
    /// The network interface for the address, on servers of one's own.
    pub interface: Option<String>,
    /// The directory on it where addresses are marked as a service's; `/var/lib/bluegreen/addresses` unless set.
    pub marks: Option<String>,
}

impl TwoServers {
    /// Where a slot's releases are pushed to.
    ///
    /// # Errors
    /// `Config` when the settings of SSH do not tell.
    pub fn git_server(&self, slot: Slot) -> Result<GitServer> {
        let server = self.server(slot);
        let git = match &server.ssh {
            Some(name) => GitServer::new(self.host(name)?, &server.directory),
            None => GitServer::local(&server.directory),
        };
        Ok(git.address(&server.web))
    }

    /// The cloud's numbers of the servers.
    ///
    /// # Errors
    /// `Config` when one is missing.
    pub fn ids(&self) -> Result<PerSlot<u64>> {
        let missing = || Error::config("`id`, the cloud's number of the server, is missing for blue or green");
        Ok(PerSlot::new(self.blue.id.ok_or_else(missing)?, self.green.id.ok_or_else(missing)?))
    }

    /// The server that takes the address itself.
    ///
    /// # Errors
    /// `Config` when its name or its interface is missing.
    pub fn vip_server(&self, slot: Slot) -> Result<VipServer> {
        let server = self.server(slot);
        let missing = |what| Error::config(format!("`{what}` is missing for {slot}"));
        let name = server.ssh.as_deref().ok_or_else(|| missing("ssh"))?;
        let interface = server.interface.as_deref().ok_or_else(|| missing("interface"))?;
        let vip = VipServer::new(self.host(name)?, interface)?;
        match &server.marks {
            Some(directory) => vip.marks_in(directory),
            None => Ok(vip),
        }
    }

    fn server(&self, slot: Slot) -> &Server {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    fn host(&self, name: &str) -> Result<SshHost> {
        match &self.ssh_config {
            Some(file) => SshHostBuilder::from_ssh_config_file(file, name)?.build(),
            None => SshHostBuilder::from_ssh_config(name)?.build(),
        }
    }
}

fn unspecified() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}
