//! The runtime and the router of a fleet of servers keep the contracts of their traits.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::fleet::{FleetRouter, FleetRuntime, Member};
use bluegreen_core::testing::conformance::{self, CutOff, RouterFixture, RuntimeFixture};
use bluegreen_core::{
    Fleet, Granularity, Instance, OperationId, Release, Result, Router, ServiceName, Slot, Split, Target, Version,
};
use bluegreen_testkit::ssh::sshd_is_here;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::servers::{Server, name_of_link};
use crate::site::split;

const MEMBERS: usize = 3;

fn servers() -> Vec<Server> {
    (1..=MEMBERS).map(|number| Server::start(format!("web{number}"))).collect()
}

struct Slots {
    servers: Vec<Server>,
    builds: TempDir,
}

impl Slots {
    fn build(&self, name: &str) -> PathBuf {
        let path = self.builds.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("index.html"), name).unwrap();
        path
    }

    fn links(&self, slot: Slot) -> impl Iterator<Item = PathBuf> {
        self.servers.iter().map(move |server| server.directory.join(format!("slots/{slot}/current")))
    }
}

#[async_trait]
impl RuntimeFixture for Slots {
    type Runtime = FleetRuntime;

    async fn open(&self) -> FleetRuntime {
        let fleet = self
            .servers
            .iter()
            .fold(Fleet::builder(), |fleet, server| fleet.with_member(Member::new(&*server.name, server.site())));
        fleet.build().unwrap().runtime()
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        target(slot, Release::new(format!("1.{release}")).unwrap().with_artifact(self.build(&release.to_string())))
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        let alive = self.links(slot).filter_map(|link| std::fs::symlink_metadata(link).ok());
        let alive: Vec<_> = alive.map(|link| format!("{slot} {} {}", link.ino(), link.ctime_nsec())).collect();
        (!alive.is_empty()).then(|| alive.join(", "))
    }

    async fn kill(&self, slot: Slot) -> bool {
        self.links(slot).for_each(|link| std::fs::remove_file(link).unwrap());
        true
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, Release::new("1.0").unwrap().with_artifact(self.build("other"))))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, Release::new("2.0").unwrap().with_artifact("/nowhere/release.tar.gz")))
    }

    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::sampled()
    }
}

fn target(slot: Slot, release: Release) -> Target {
    Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("deploy-1").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_of_a_fleet_of_servers_keeps_the_contract_of_a_runtime() {
    if sshd_is_here() {
        conformance::runtime(&Slots { servers: servers(), builds: tempfile::tempdir().unwrap() }).await;
    }
}

/// Shifts as a pipeline does, which holds a lease: never two at once. A fleet is no transaction over its members.
#[derive(Debug)]
struct Leased {
    router: FleetRouter,
    lease: Arc<Mutex<()>>,
}

impl fmt::Display for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.router.fmt(f)
    }
}

#[async_trait]
impl Router for Leased {
    fn granularity(&self) -> Granularity {
        self.router.granularity()
    }

    async fn current(&self) -> Result<Option<Split>> {
        self.router.current().await
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        self.router.attach(slot, instance).await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let _lease = self.lease.lock().await;
        self.router.shift(from, to).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        self.router.in_flight(slot).await
    }
}

/// Each server divides its own traffic.
struct Routed {
    servers: Vec<Server>,
    requests: AtomicUsize,
    lease: Arc<Mutex<()>>,
}

#[async_trait]
impl RouterFixture for Routed {
    type Router = Leased;

    async fn open(&self) -> Leased {
        let fleet = self.servers.iter().fold(Fleet::builder(), |fleet, server| {
            let site = server.site().dividing();
            fleet.member(&*server.name, site.clone(), site)
        });
        Leased { router: fleet.build().unwrap().router(), lease: self.lease.clone() }
    }

    async fn instance(&self, _slot: Slot) -> Instance {
        Instance::Running { version: Some(Version::new("1.0").unwrap()), endpoints: Vec::new() }
    }

    /// Server by server, and on each of them percent by percent.
    async fn request(&self) -> Option<Slot> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let server = &self.servers[number % self.servers.len()];
        let split = split(&name_of_link(&server.directory.join("live"))?)?;
        let is_green = number / self.servers.len() % 100 < usize::from(split.share(Slot::Green));
        Some(if is_green { Slot::Green } else { Slot::Blue })
    }

    fn is_exact(&self) -> bool {
        true
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        for server in &self.servers {
            let (new, live) = (server.directory.join("by-hand"), server.directory.join("live"));
            std::os::unix::fs::symlink(format!("slots/{}", split.majority()), &new).unwrap();
            std::fs::rename(new, live).unwrap();
        }
        true
    }

    /// Before a shift has begun and after it has ended. What one leaves that is cut off in between is for `recover`.
    fn cut_offs(&self) -> Vec<CutOff> {
        vec![CutOff::Polls(1), CutOff::Time(Duration::from_secs(60))]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_of_a_fleet_of_servers_keeps_the_contract_of_a_router() {
    if sshd_is_here() {
        let lease = Arc::default();
        conformance::router(&Routed { servers: servers(), requests: AtomicUsize::new(0), lease }).await;
    }
}
