//! A server for BEAM tests: a directory, two ports, a port mapper of its own; and nothing left of it afterwards.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bluegreen_core::{Host, OperationId, Release, Secret, ServiceName, Slot, Target};
use bluegreen_ssh::{BeamRuntime, BeamRuntimeBuilder};
use rustix::process::Signal;
use tempfile::TempDir;

use super::releases::{APP, release};
use super::send;

pub const GRACE: Duration = Duration::from_secs(45);

/// Leaves the test where there is no `mix`.
macro_rules! needs_mix {
    () => {
        if !crate::common::releases::mix_is_here() {
            return;
        }
    };
}

pub struct Server {
    directory: TempDir,
    pub ports: [u16; 2],
    pub epmd_port: u16,
}

impl Server {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("beam-").tempdir().unwrap();
        // All at once, so that they differ.
        let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
        let [blue, green, epmd_port] = listeners.each_ref().map(|it| it.local_addr().unwrap().port());
        Self { directory, ports: [blue, green], epmd_port }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The service's directory, which the runtime makes.
    pub fn base(&self) -> String {
        self.path("srv/shop").display().to_string()
    }

    pub fn slot_file(&self, slot: Slot, name: &str) -> PathBuf {
        self.path(&format!("srv/shop/slots/{slot}/{name}"))
    }

    /// The file in which migrations store what they did.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn builder(&self, host: impl Host) -> BeamRuntimeBuilder {
        BeamRuntime::builder(host, APP)
            .directory(self.base())
            .ports(self.ports)
            .epmd_port(self.epmd_port)
            .boot_deadline(super::PATIENCE)
            .env("DEMO_DATA", Secret::new(self.data().display().to_string()))
    }

    pub fn runtime(&self, host: impl Host) -> BeamRuntime {
        self.builder(host).build().unwrap()
    }

    pub fn target(&self, slot: Slot, version: &str) -> Target {
        self.behaving(slot, version, "")
    }

    pub fn behaving(&self, slot: Slot, version: &str, behaviour: &str) -> Target {
        target(slot, version, Some(release(version, behaviour)))
    }

    /// The process of a slot's node, with its start time, seen in `/proc` by its environment.
    pub fn alive(&self, slot: Slot) -> Option<String> {
        let port = format!("PORT={}", self.ports[slot as usize]);
        let pid = self.processes().into_iter().find(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.starts_with("beam") && has(*pid, &port) && has_prefix(*pid, "BLUEGREEN_START=")
        })?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let start = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.to_owned();
        Some(format!("{pid}:{start}"))
    }

    pub fn pid(&self, slot: Slot) -> Option<i32> {
        self.alive(slot)?.split_once(':')?.0.parse().ok()
    }

    /// All processes that belong to this server: they know its port mapper.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("ERL_EPMD_PORT={}", self.epmd_port);
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| super::runs(*pid) && has(*pid, &mark)).collect()
    }

    /// Those of a slot, but for the port mapper.
    pub fn processes_of(&self, slot: Slot) -> Vec<i32> {
        let port = format!("PORT={}", self.ports[slot as usize]);
        self.processes().into_iter().filter(|pid| has(*pid, &port)).collect()
    }

    /// The body of an answer of a slot's service.
    pub fn get(&self, slot: Slot, path: &str) -> String {
        get(self.ports[slot as usize], path).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            let processes = self.processes();
            if processes.is_empty() || Instant::now() > deadline {
                break;
            }
            processes.into_iter().for_each(|pid| send(pid, Signal::KILL));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn target(slot: Slot, version: &str, artifact: Option<PathBuf>) -> Target {
    let mut release = Release::new(version).unwrap();
    if let Some(artifact) = artifact {
        release = release.with_artifact(artifact);
    }
    Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op").unwrap())
}

pub fn get(port: u16, path: &str) -> std::io::Result<String> {
    answer(ask(port, path)?)
}

/// Sends a request, and does not wait for the answer.
pub fn ask(port: u16, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
    Ok(stream)
}

pub fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    assert!(head.starts_with("HTTP/1.1 "), "{text:?}");
    Ok(body.to_owned())
}

pub fn environment(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

fn has(pid: i32, variable: &str) -> bool {
    environment(pid).iter().any(|entry| entry == variable)
}

fn has_prefix(pid: i32, prefix: &str) -> bool {
    environment(pid).iter().any(|entry| entry.starts_with(prefix) && entry.len() > prefix.len())
}
