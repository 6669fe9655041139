//! A server with a detached runtime: this machine, or this machine over SSH, with the tools that are asked for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use bluegreen_core::{Host, LocalHost, OperationId, Release, Runtime, ServiceName, Slot, Target};
use bluegreen_release::{DetachedRuntime, DetachedRuntimeBuilder};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::patience::{PATIENCE, comes};
use bluegreen_testkit::pids::{has, name_of, running_with, send, started};
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::Sshd;
use rustix::process::Signal;

use crate::support::Lab;

pub(crate) const SERVES: &str = "#!/bin/sh\necho it speaks\necho and goes on\nexec sleep 600\n";
pub(crate) const STUBBORN: &str = "#!/bin/sh\ntrap '' TERM\necho it speaks\necho and stays\nexec sleep 600\n";

pub(crate) struct Detached {
    pub(crate) lab: Lab,
    pub(crate) host: Arc<dyn Host>,
}

impl Detached {
    pub(crate) fn here() -> Self {
        Self { lab: Lab::new(), host: Arc::new(LocalHost::new()) }
    }

    pub(crate) fn over(sshd: &Sshd) -> Self {
        let host = SshHost::builder(format!("{}@127.0.0.1:{}", user(), sshd.port()));
        let host = host.key_file(sshd.key()).known_hosts(sshd.known_hosts()).build().unwrap();
        Self { lab: Lab::new(), host: Arc::new(host) }
    }

    pub(crate) fn builder(&self) -> DetachedRuntimeBuilder {
        let directory = self.lab.path("server dir").to_str().unwrap().to_owned();
        DetachedRuntime::builder(self.host.clone(), "shop").directory(directory).command(["bin/shop"])
    }

    pub(crate) fn runtime(&self) -> DetachedRuntime {
        self.builder().build().unwrap()
    }

    pub(crate) fn release(&self, version: &str, program: &str) -> Release {
        let folder = format!("build-{version}-{}", program.len());
        Release::new(version).unwrap().with_artifact(self.lab.build(&folder, &[("bin/shop*", program)]))
    }

    /// The path of a file of a slot.
    pub(crate) fn file(&self, slot: Slot, name: &str) -> PathBuf {
        self.lab.path("server dir").join("slots").join(slot.as_str()).join(name)
    }

    pub(crate) fn read(&self, slot: Slot, name: &str) -> String {
        fs::read_to_string(self.file(slot, name)).unwrap_or_default()
    }

    /// All processes of a slot, supervisors too, by the mark of its last start.
    pub(crate) fn members(&self, slot: Slot) -> Vec<i32> {
        let record = self.read(slot, "record");
        let token = record.lines().find_map(|line| line.strip_prefix("token "));
        token.map_or(Vec::new(), |token| running_with(&format!("BLUEGREEN_INSTANCE={token}")))
    }

    /// The processes of the program, oldest first.
    pub(crate) fn programs(&self, slot: Slot) -> Vec<i32> {
        let slot_of = format!("SLOT={slot}");
        let mut all: Vec<_> = self.members(slot).into_iter().filter(|pid| has(*pid, &slot_of)).collect();
        all.sort_by_key(|pid| started(*pid).and_then(|ticks| ticks.parse::<u64>().ok()));
        all
    }

    /// Starts a release, and returns the pid of its program.
    pub(crate) async fn started(&self, runtime: &DetachedRuntime, target: &Target) -> i32 {
        runtime.prepare(target).await.unwrap();
        runtime.start(target).await.unwrap();
        assert!(comes(PATIENCE, || !self.programs(target.slot).is_empty()), "{:?}", name_of(1));
        self.programs(target.slot)[0]
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let left = Slot::BOTH.into_iter().flat_map(|slot| self.members(slot));
        left.for_each(|pid| send(pid, Signal::KILL));
    }
}

pub(crate) fn target(slot: Slot, release: Release) -> Target {
    Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op-1").unwrap())
}

/// An SSH server whose commands find nothing but busybox, and flock, which Debian's busybox lacks.
pub(crate) fn busybox_sshd(lab: &Lab) -> Option<Sshd> {
    let is_here = std::process::Command::new("busybox").arg("true").status().is_ok_and(|status| status.success());
    if !bluegreen_core::testing::part_is_here("busybox", is_here, "install busybox-static") {
        return None;
    }
    let tools = lab.path("tools");
    fs::create_dir(&tools).unwrap();
    let list = std::process::Command::new("busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines() {
        symlink("/bin/busybox", tools.join(name)).unwrap();
    }
    if !tools.join("flock").exists() {
        symlink("/usr/bin/flock", tools.join("flock")).unwrap();
    }
    Some(Sshd::with(&format!("SetEnv SHLVL=1 PATH={}\nSubsystem sftp internal-sftp", tools.display())))
}
