//! The contracts of `Runtime` and `Router`, tested by core's suites on real processes and a real proxy.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Client, Front, Service, eventually, fetch, get, read, within};
use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HeldRequest, ProcessEnd, RouterFixture, RuntimeFixture};
use bluegreen_core::{Instance, OperationId, Release, Router, Runtime, ServiceName, Slot, Split, Target};
use bluegreen_local::{ProcessRuntime, Proxy, ProxyRouter};
use bluegreen_testkit::pids::send;
use hyper::Response;
use hyper::body::Incoming;
use rustix::process::Signal;
use tokio::sync::Mutex;

/// Slots whose services each have a working directory of their own: by that they are found in `/proc`.
struct Processes {
    folder: tempfile::TempDir,
}

impl Processes {
    fn new() -> Self {
        let processes = Self { folder: tempfile::tempdir().unwrap() };
        for slot in Slot::BOTH {
            std::fs::create_dir(processes.home(slot)).unwrap();
        }
        for release in 0..3 {
            let text = format!("echo release {release} begins\necho and waits\nexec sleep 600");
            processes.write(&format!("release-{release}"), &text);
        }
        processes.write("other", "echo other content\nexec sleep 600");
        processes.write("stubborn", "trap '' TERM\necho stubborn begins\necho and stays\nwhile :; do sleep 1; done");
        processes
    }

    fn write(&self, name: &str, script: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn home(&self, slot: Slot) -> PathBuf {
        self.folder.path().join(slot.as_str())
    }

    fn release(&self, slot: Slot, version: &str, file: &str) -> Target {
        let release = Release::new(version).unwrap().with_artifact(self.folder.path().join(file));
        Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op").unwrap())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for slot in Slot::BOTH {
            for pid in running_in(&self.home(slot)) {
                send(pid, Signal::KILL);
            }
        }
    }
}

#[async_trait]
impl RuntimeFixture for Processes {
    type Runtime = ProcessRuntime;

    async fn open(&self) -> ProcessRuntime {
        runtime(self.folder.path())
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        self.release(slot, &format!("1.{release}"), &format!("release-{release}"))
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        let first = running_in(&self.home(slot)).into_iter().min()?;
        let stat = std::fs::read_to_string(format!("/proc/{first}/stat")).ok()?;
        let started = stat.rsplit(") ").next()?.split(' ').nth(19)?.to_owned();
        Some(format!("{first} started {started}"))
    }

    async fn kill(&self, slot: Slot) -> bool {
        for pid in running_in(&self.home(slot)) {
            send(pid, Signal::KILL);
        }
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("begins")
    }

    fn marks_its_place(&self) -> bool {
        true
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(self.release(slot, "1.0", "other"))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(self.release(slot, "1.9", "no-such-file"))
    }

    fn stubborn(&self, slot: Slot) -> Option<Target> {
        Some(self.release(slot, "1.8", "stubborn"))
    }

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        let target = self.target(slot, 0);
        Some(Target { release: target.release.clone().with_setting("workers", "4"), ..target })
    }

    async fn start_in_another_process(&self, target: &Target, end: ProcessEnd) -> bool {
        let task = format!("{} {} {}", target.slot, target.version(), self.folder.path().display());
        conformance::in_another_process(concat!(module_path!(), "::another_process"), &task, end).await;
        true
    }
}

/// Run by the suite, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn another_process() {
    conformance::as_another_process(async |task| {
        let [slot, version, folder] = task.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let release = Release::new(version).unwrap();
        let (service, operation) = (ServiceName::new("shop").unwrap(), OperationId::new("op").unwrap());
        runtime(Path::new(folder))
            .start(&Target::new(service, slot.parse().unwrap(), release, operation))
            .await
            .unwrap();
    })
    .await;
}

fn runtime(folder: &Path) -> ProcessRuntime {
    let home = folder.join("{slot}");
    ProcessRuntime::builder(folder.join("state")).directory(home.to_str().unwrap()).build().unwrap()
}

fn running_in(folder: &Path) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder))
        .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_runtime_keeps_its_contract() {
    within(240, conformance::runtime(&Processes::new())).await;
}

/// A proxy with a service in each slot. A router of it is opened over the control socket, or in the process.
struct Proxied {
    folder: tempfile::TempDir,
    front: Front,
    services: Mutex<[Service; 2]>,
    over_socket: bool,
}

impl Proxied {
    async fn new(over_socket: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let builder =
            Proxy::builder().control_socket(folder.path().join("socket")).state_file(folder.path().join("state.json"));
        let front = Front::start(builder).await;
        eventually("the control socket", async || folder.path().join("socket").exists()).await;
        let services = Mutex::new([Service::start("blue").await, Service::start("green").await]);
        Self { folder, front, services, over_socket }
    }
}

#[async_trait]
impl RouterFixture for Proxied {
    type Router = ProxyRouter;

    async fn open(&self) -> ProxyRouter {
        if self.over_socket { ProxyRouter::new(self.folder.path().join("socket")) } else { self.front.proxy.router() }
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.services.lock().await[slot as usize].instance()
    }

    async fn request(&self) -> Option<Slot> {
        let reply = fetch(self.front.address, "/").await;
        reply.header("x-service").map(|name| name.parse().unwrap())
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        let service = Service::start(slot.as_str()).await;
        let instance = service.instance();
        let old = std::mem::replace(&mut self.services.lock().await[slot as usize], service);
        old.kill().await;
        Some(instance)
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        let mut client = Client::connect(self.front.address).await;
        // The answer takes long enough for the suite to move the traffic away in the meantime.
        let response = client.send(get("/drip/20/100")).await.unwrap();
        let slot = response.headers()["x-service"].to_str().unwrap().parse().unwrap();
        Some(Box::new(Held { slot, response, _client: client }))
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let router = self.front.router.clone();
        router.shift(router.current().await.unwrap(), split).await.unwrap();
        true
    }
}

struct Held {
    slot: Slot,
    response: Response<Incoming>,
    _client: Client,
}

#[async_trait]
impl HeldRequest for Held {
    fn slot(&self) -> Slot {
        self.slot
    }

    async fn finish(self: Box<Self>) -> bool {
        let reply = tokio::time::timeout(Duration::from_secs(30), read(self.response)).await;
        reply.is_ok_and(|reply| reply.is_ok_and(|reply| reply.text().lines().count() == 20))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_router_keeps_its_contract_in_the_process() {
    within(240, conformance::router(&Proxied::new(false).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_router_keeps_its_contract_over_the_control_socket() {
    within(240, conformance::router(&Proxied::new(true).await)).await;
}
