//! SSH servers of a fleet, each with a key and a directory of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_core::fleet::{FleetBuilder, Member};
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{FileStateStore, Fleet, Health, Pipeline, health};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::Sshd;

use crate::site::{Answers, Site};

/// Holds a secret, so its mode is 0600 on each server.
pub const ENVIRONMENT: &str = "DATABASE_URL=postgres://shop@db/shop\nSECRET_KEY_BASE=0123456789abcdef\n";

pub const KEEP_RELEASES: usize = 3;

pub struct Server {
    pub name: String,
    pub sshd: Sshd,
    /// Where clients connect to: the server itself, or a line in front of it.
    pub port: u16,
    pub directory: PathBuf,
}

impl Server {
    pub fn start(name: impl Into<String>) -> Self {
        let sshd = Sshd::start();
        let (port, directory) = (sshd.port(), sshd.path().join("site"));
        Self { name: name.into(), sshd, port, directory }
    }

    /// A client with a connection of its own.
    pub fn host(&self) -> SshHost {
        let known_hosts = self.known_hosts();
        let host = SshHost::builder(format!("{}@127.0.0.1:{}", user(), self.port)).key_file(self.sshd.key());
        host.known_hosts(known_hosts).connect_timeout(Duration::from_secs(60)).build().unwrap()
    }

    /// A file with the server's key for the port that clients connect to.
    pub fn known_hosts(&self) -> PathBuf {
        let file = self.sshd.path().join("known_hosts_here");
        std::fs::write(&file, format!("[127.0.0.1]:{} {}\n", self.port, self.sshd.host_key())).unwrap();
        file
    }

    pub fn site(&self) -> Site {
        Site::new(self.host(), self.directory.to_str().unwrap(), ENVIRONMENT, KEEP_RELEASES)
    }

    /// The version that its live link leads to, seen past the library.
    pub fn version(&self) -> Option<String> {
        name_of_link(&self.directory.join("live/current"))
    }
}

/// The last part of what a link points to.
pub fn name_of_link(link: &Path) -> Option<String> {
    Some(std::fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// A fleet of these servers, over connections of its own.
pub fn fleet(servers: &[Server]) -> FleetBuilder {
    servers.iter().fold(Fleet::builder(), |fleet, server| {
        let site = server.site();
        fleet.with_member(Member::new(&*server.name, site.clone()).router(site.clone()).verify(Answers(site)))
    })
}

/// A pipeline that waits for nothing but what it asks: files need no time to get healthy.
pub fn pipeline(fleet: &Fleet, state: &Path) -> PipelineBuilder {
    let linked = health::from_fn("the slot's link is there", async |_target, instance| {
        Ok(if instance.is_running() { Health::healthy() } else { Health::unhealthy("it is not linked") })
    });
    Pipeline::builder("shop")
        .fleet(fleet)
        .store(FileStateStore::new(state))
        .health(linked)
        .check_interval(Duration::from_millis(20))
        .healthy_streak(1)
        .verify_streak(1)
        .drain(Duration::ZERO)
}
