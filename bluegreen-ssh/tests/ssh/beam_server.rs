//! A server for BEAM tests: a directory, two ports, a port mapper of its own; and nothing left of it afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{Host, OperationId, Release, Secret, ServiceName, Slot, Target};
use bluegreen_ssh::{BeamRuntime, BeamRuntimeBuilder};
use bluegreen_testkit::address::free_ports;
use bluegreen_testkit::beam::{APP, release};
use bluegreen_testkit::patience::{PATIENCE, comes};
use bluegreen_testkit::pids::{environment, has, name_of, running_with, send, started};
use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) const GRACE: Duration = Duration::from_secs(45);

/// What a node's processes are marked by.
const START: &str = "BLUEGREEN_START=";

pub(crate) struct Server {
    directory: TempDir,
    pub(crate) ports: [u16; 2],
    pub(crate) epmd_port: u16,
}

impl Server {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("beam-").tempdir().unwrap();
        let [blue, green, epmd_port] = free_ports();
        Self { directory, ports: [blue, green], epmd_port }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The service's directory, which the runtime makes.
    pub(crate) fn base(&self) -> String {
        self.path("srv/shop").display().to_string()
    }

    pub(crate) fn slot_file(&self, slot: Slot, name: &str) -> PathBuf {
        self.path(&format!("srv/shop/slots/{slot}/{name}"))
    }

    /// The file in which migrations store what they did.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn builder(&self, host: impl Host) -> BeamRuntimeBuilder {
        BeamRuntime::builder(host, APP)
            .directory(self.base())
            .ports(self.ports)
            .epmd_port(self.epmd_port)
            .boot_deadline(PATIENCE)
            .env("DEMO_DATA", Secret::new(self.data().display().to_string()))
    }

    pub(crate) fn runtime(&self, host: impl Host) -> BeamRuntime {
        self.builder(host).build().unwrap()
    }

    pub(crate) fn target(&self, slot: Slot, version: &str) -> Target {
        self.behaving(slot, version, "")
    }

    pub(crate) fn behaving(&self, slot: Slot, version: &str, behaviour: &str) -> Target {
        target(slot, version, Some(release(version, behaviour)))
    }

    /// The process of a slot's node, with its start time, seen in `/proc` by its environment.
    pub(crate) fn alive(&self, slot: Slot) -> Option<String> {
        let has_start =
            |pid| environment(pid).iter().any(|entry| entry.starts_with(START) && entry.len() > START.len());
        let pids = self.processes_of(slot);
        let pid = pids.into_iter().find(|pid| name_of(*pid).starts_with("beam") && has_start(*pid))?;
        Some(format!("{pid}:{}", started(pid)?))
    }

    pub(crate) fn pid(&self, slot: Slot) -> Option<i32> {
        self.alive(slot)?.split_once(':')?.0.parse().ok()
    }

    /// All processes that belong to this server: they know its port mapper.
    pub(crate) fn processes(&self) -> Vec<i32> {
        running_with(&format!("ERL_EPMD_PORT={}", self.epmd_port))
    }

    /// Those of a slot, but for the port mapper.
    pub(crate) fn processes_of(&self, slot: Slot) -> Vec<i32> {
        let port = format!("PORT={}", self.ports[slot as usize]);
        self.processes().into_iter().filter(|pid| has(*pid, &port)).collect()
    }

    /// The body of an answer of a slot's service.
    pub(crate) fn get(&self, slot: Slot, path: &str) -> String {
        answer(ask(self.ports[slot as usize], path).unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        comes(PATIENCE, || {
            let processes = self.processes();
            processes.iter().for_each(|pid| send(*pid, Signal::KILL));
            processes.is_empty()
        });
    }
}

pub(crate) fn target(slot: Slot, version: &str, artifact: Option<PathBuf>) -> Target {
    let mut release = Release::new(version).unwrap();
    if let Some(artifact) = artifact {
        release = release.with_artifact(artifact);
    }
    Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op").unwrap())
}

/// Sends a request, and does not wait for the answer.
pub(crate) fn ask(port: u16, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
    Ok(stream)
}

pub(crate) fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    assert!(head.starts_with("HTTP/1.1 "), "{text:?}");
    Ok(body.to_owned())
}
