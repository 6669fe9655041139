//! A repository with some releases, and a web server that serves what is deployed; and nothing left of it afterwards.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{OperationId, PerSlot, Release, ServiceName, Slot, Target};
use bluegreen_ssh::{GitRuntime, GitRuntimeBuilder, GitServer, SshHost};
use tempfile::TempDir;

use super::{PATIENCE, run};

const NGINX: &str = "/usr/sbin/nginx";

/// Whether there is all that these tests need, apart from an OpenSSH server.
pub fn git_is_here() -> bool {
    let has = |program: &str| {
        let output = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        output.is_ok()
    };
    part_is_here("git", has("git"), "install git") && part_is_here("nginx", has(NGINX), "install nginx-light")
}

/// Leaves the test where there is no git, or no nginx.
macro_rules! needs_git {
    () => {
        if !crate::common::git::git_is_here() {
            return;
        }
    };
}

/// The repository of the service: version 1.0.0 to 1.2.0 are tags, each one commit after the other.
pub struct Lab {
    directory: TempDir,
    nginx: Child,
    pub ports: [u16; 2],
}

impl Lab {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("git-").tempdir().unwrap();
        fs::create_dir_all(directory.path().join("srv")).unwrap();
        let ports = free_ports();
        let nginx = nginx(directory.path(), ports);
        let lab = Self { directory, nginx, ports };
        lab.git(&["init", "-q", "-b", "master", &lab.repository().display().to_string()]);
        for number in 0..3 {
            lab.commit(&format!("1.{number}.0"));
        }
        lab
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn repository(&self) -> PathBuf {
        self.path("sample app")
    }

    /// A slot's directory, which the runtime makes.
    pub fn base(&self, slot: Slot) -> PathBuf {
        self.path(&format!("srv/{slot}"))
    }

    pub fn web_root(&self, slot: Slot) -> PathBuf {
        self.base(slot).join("current")
    }

    pub fn file(&self, slot: Slot, path: &str) -> PathBuf {
        self.base(slot).join(path)
    }

    /// Runs git on the repository, or where `-C` leads.
    pub fn git(&self, args: &[&str]) -> String {
        let mut command = self.git_command(args);
        run(&mut command).trim().to_owned()
    }

    pub fn git_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        if self.repository().exists() {
            command.arg("-C").arg(self.repository());
        }
        command
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.com")])
            .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.com")]);
        command
    }

    /// Commits a version, tags it, and returns its commit.
    pub fn commit(&self, version: &str) -> String {
        self.write("index.html", &format!("App {version}\n"));
        self.commit_all(version)
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.repository().join(file), text).unwrap();
    }

    pub fn commit_all(&self, version: &str) -> String {
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", version]);
        self.git(&["tag", version]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Slots on this machine.
    pub fn builder(&self) -> GitRuntimeBuilder {
        GitRuntime::builder(self.repository()).servers(PerSlot::from_fn(|slot| self.here(slot)))
    }

    pub fn here(&self, slot: Slot) -> GitServer {
        GitServer::local(self.base(slot).display().to_string()).address(self.address(slot))
    }

    /// Slots on a server.
    pub fn builder_on(&self, host: &SshHost) -> GitRuntimeBuilder {
        let server =
            |slot| GitServer::new(host.clone(), self.base(slot).display().to_string()).address(self.address(slot));
        GitRuntime::builder(self.repository()).servers(PerSlot::from_fn(server))
    }

    pub fn runtime(&self) -> GitRuntime {
        self.builder().build().unwrap()
    }

    pub fn address(&self, slot: Slot) -> String {
        format!("127.0.0.1:{}", self.ports[slot as usize])
    }

    /// What the web server answers: the body of a 200.
    pub fn served(&self, slot: Slot) -> Option<String> {
        let mut stream = TcpStream::connect(self.address(slot)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        head.starts_with("HTTP/1.1 200").then(|| body.trim().to_owned())
    }

    /// The names in a directory of a slot.
    pub fn names(&self, slot: Slot, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.file(slot, directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The commit at which the branch of a slot's repository stands.
    pub fn branch(&self, slot: Slot) -> Option<String> {
        let repository = self.file(slot, "repository.git").display().to_string();
        let output = self.git_command(&["--git-dir", &repository, "rev-parse", "-q", "--verify", "refs/heads/master"]);
        let text = { output }.output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap().trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // SIGTERM, so that the master takes its worker with it.
        super::send(self.nginx.id().cast_signed(), rustix::process::Signal::TERM);
        let _ = self.nginx.wait();
    }
}

pub fn target(slot: Slot, version: &str) -> Target {
    let (service, operation) = (ServiceName::new("sample").unwrap(), OperationId::new("op-1").unwrap());
    Target::new(service, slot, Release::new(version).unwrap(), operation)
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|it| it.local_addr().unwrap().port())
}

fn nginx(directory: &Path, ports: [u16; 2]) -> Child {
    let at = directory.display();
    let server = |slot: Slot| {
        let port = ports[slot as usize];
        format!("server {{ listen 127.0.0.1:{port}; root {at}/srv/{slot}/current; index index.html; }}\n")
    };
    // The worker must be able to enter the temporary directory.
    let config = format!(
        "user {};\ndaemon off;\nworker_processes 1;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {at}/tmp;\nproxy_temp_path {at}/tmp;\n\
         fastcgi_temp_path {at}/tmp;\nuwsgi_temp_path {at}/tmp;\nscgi_temp_path {at}/tmp;\n{}{}}}\n",
        super::user(),
        server(Slot::Blue),
        server(Slot::Green)
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut child =
        Command::new(NGINX).arg("-p").arg(directory).arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
        if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("nginx does not start: {}", fs::read_to_string(directory.join("nginx.log")).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
