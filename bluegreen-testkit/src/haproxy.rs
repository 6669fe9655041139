//! An HAProxy with its own configuration, socket and ports.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bluegreen_core::testing::part_is_here;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::address::free_address;
use crate::patience::{PATIENCE, comes};
use crate::pids;
use crate::process::{answers, terminate};

/// Whether there is an HAProxy here.
pub fn haproxy_is_here() -> bool {
    part_is_here("haproxy", answers(&["haproxy", "-v"]), "install haproxy")
}

/// A running HAProxy of a master and a worker; it ends with this value.
pub struct TestHaproxy {
    directory: TempDir,
    child: Option<Child>,
    address: String,
}

impl TestHaproxy {
    /// Starts one whose frontend leads to the backend `shop`, in `mode`; `sections` is the rest of its configuration, in which `{dir}` is
    /// its directory.
    pub fn start(mode: &str, sections: &str) -> Option<Self> {
        if !haproxy_is_here() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("bluegreen-haproxy-").tempdir().unwrap();
        let mut haproxy = Self { directory, child: None, address: free_address() };
        haproxy.configure(mode, sections);
        haproxy.run();
        Some(haproxy)
    }

    /// Writes its configuration, which the next reload or start reads.
    pub fn configure(&self, mode: &str, sections: &str) {
        let (dir, address) = (self.directory.path().display(), &self.address);
        let sections = sections.replace("{dir}", &dir.to_string());
        let text = format!(
            "global\n  stats socket {dir}/admin.sock mode 600 level admin expose-fd listeners\n  stats timeout 1m\n\
             \x20 nbthread 2\n  hard-stop-after 60s\n\
             defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend web\n  bind {address}\n  default_backend shop\n{sections}\n"
        );
        std::fs::write(self.path("haproxy.cfg"), text).unwrap();
    }

    /// Starts it again after [`TestHaproxy::stop`] or [`TestHaproxy::kill`].
    pub fn run(&mut self) {
        let mut command = Command::new("haproxy");
        let log = std::fs::File::create(self.path("log")).unwrap();
        command.args(["-W", "-db", "-f"]).arg(self.path("haproxy.cfg"));
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let runs = || self.worker().is_some() && self.takes_signals();
        assert!(comes(PATIENCE, runs), "haproxy did not start: {}", self.log());
    }

    /// Ends it, by its own pid.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let workers = pids::descendants(child.id().cast_signed());
            terminate(&mut child);
            gone(&workers);
        }
    }

    /// Ends it as a crash would, its workers included.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let workers = pids::descendants(child.id().cast_signed());
            let _ = child.kill();
            let _ = child.wait();
            gone(&workers);
        }
    }

    /// Reloads, and waits until a new worker answers on the socket.
    pub fn reload(&self) {
        let old = self.worker();
        pids::send(self.master(), Signal::USR2);
        let is_new = || self.worker().is_some_and(|new| Some(new) != old) && self.takes_signals();
        assert!(comes(PATIENCE, is_new), "no reload: {}", self.log());
    }

    /// Whether the master has started its worker, and then itself anew to wait for signals: one that comes earlier is lost.
    fn takes_signals(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.master())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let usr2 = 1 << (Signal::USR2.as_raw() - 1);
        caught & usr2 != 0 && pids::has(self.master(), "HAPROXY_MWORKER_WAIT_ONLY=1")
    }

    /// The pid of the master.
    pub fn master(&self) -> i32 {
        self.child.as_ref().unwrap().id().cast_signed()
    }

    /// The pid of the worker that answers on the socket.
    pub fn worker(&self) -> Option<i32> {
        let info = self.try_cli("show info").ok()?;
        info.lines().find_map(|line| line.strip_prefix("Pid: "))?.parse().ok()
    }

    /// What the socket answers to a line of commands.
    pub fn cli(&self, line: &str) -> String {
        self.try_cli(line).unwrap()
    }

    fn try_cli(&self, line: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The state of a server of the backend `shop`: its address with the port, its administrative state, its weight.
    pub fn server(&self, name: &str) -> (String, u32, u32) {
        let states = self.cli("show servers state shop");
        let row = states.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|row| row.get(3) == Some(&name));
        let row = row.unwrap_or_else(|| panic!("no server {name}: {states}"));
        (format!("{}:{}", row[4], row[18]), row[6].parse().unwrap(), row[7].parse().unwrap())
    }

    pub fn socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// Where the frontend listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn gone(workers: &[i32]) {
    for worker in workers {
        pids::send(*worker, Signal::KILL);
    }
    comes(Duration::from_secs(10), || !workers.iter().any(|worker| pids::runs(*worker)));
}

impl Drop for TestHaproxy {
    fn drop(&mut self) {
        self.kill();
    }
}
