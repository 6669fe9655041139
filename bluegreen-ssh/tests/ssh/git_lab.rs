//! A repository with some releases, and a web server that serves what is deployed; and nothing left of it afterwards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{OperationId, PerSlot, Release, ServiceName, Slot, Target};
use bluegreen_ssh::{GitRuntime, GitRuntimeBuilder, GitServer, SshHost};
use bluegreen_testkit::address::free_ports;
use bluegreen_testkit::http::get;
use bluegreen_testkit::nginx::{TestNginx, nginx_is_here};
use bluegreen_testkit::process::{answers, run, user};
use tempfile::TempDir;

/// Whether there is all that these tests need, apart from an OpenSSH server.
pub(crate) fn git_is_here() -> bool {
    part_is_here("git", answers(&["git", "--version"]), "install git") && nginx_is_here()
}

/// The repository of the service: version 1.0.0 to 1.2.0 are tags, each one commit after the other.
pub(crate) struct Lab {
    _nginx: TestNginx,
    directory: TempDir,
    pub(crate) ports: [u16; 2],
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("git-").tempdir().unwrap();
        fs::create_dir_all(directory.path().join("srv")).unwrap();
        let ports = free_ports();
        let at = directory.path().display();
        let server = |slot: Slot| {
            let port = ports[slot as usize];
            format!("server {{ listen 127.0.0.1:{port}; root {at}/srv/{slot}/current; index index.html; }}\n")
        };
        // The workers must be able to enter the temporary directory.
        let nginx = TestNginx::start_as(&user(), &Slot::BOTH.map(server).concat()).unwrap();
        let lab = Self { _nginx: nginx, directory, ports };
        lab.git(&["init", "-q", "-b", "master", &lab.repository().display().to_string()]);
        for number in 0..3 {
            lab.commit(&format!("1.{number}.0"));
        }
        lab
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("sample app")
    }

    /// A slot's directory, which the runtime makes.
    pub(crate) fn base(&self, slot: Slot) -> PathBuf {
        self.path(&format!("srv/{slot}"))
    }

    pub(crate) fn web_root(&self, slot: Slot) -> PathBuf {
        self.base(slot).join("current")
    }

    pub(crate) fn file(&self, slot: Slot, path: &str) -> PathBuf {
        self.base(slot).join(path)
    }

    /// Runs git on the repository, or where `-C` leads.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut command = self.git_command(args);
        run(&mut command).trim().to_owned()
    }

    pub(crate) fn git_command(&self, args: &[&str]) -> Command {
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
    pub(crate) fn commit(&self, version: &str) -> String {
        self.write("index.html", &format!("App {version}\n"));
        self.commit_all(version)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.repository().join(file), text).unwrap();
    }

    pub(crate) fn commit_all(&self, version: &str) -> String {
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", version]);
        self.git(&["tag", version]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Slots on this machine.
    pub(crate) fn builder(&self) -> GitRuntimeBuilder {
        GitRuntime::builder(self.repository()).servers(PerSlot::from_fn(|slot| self.here(slot)))
    }

    pub(crate) fn here(&self, slot: Slot) -> GitServer {
        GitServer::local(self.base(slot).display().to_string()).address(self.address(slot))
    }

    /// Slots on a server.
    pub(crate) fn builder_on(&self, host: &SshHost) -> GitRuntimeBuilder {
        let server =
            |slot| GitServer::new(host.clone(), self.base(slot).display().to_string()).address(self.address(slot));
        GitRuntime::builder(self.repository()).servers(PerSlot::from_fn(server))
    }

    pub(crate) fn runtime(&self) -> GitRuntime {
        self.builder().build().unwrap()
    }

    pub(crate) fn address(&self, slot: Slot) -> String {
        format!("127.0.0.1:{}", self.ports[slot as usize])
    }

    /// What the web server answers: the body of a 200.
    pub(crate) fn served(&self, slot: Slot) -> Option<String> {
        let answer = get(self.address(slot), "/").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        head.starts_with("HTTP/1.1 200").then(|| body.trim().to_owned())
    }

    /// The names in a directory of a slot.
    pub(crate) fn names(&self, slot: Slot, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.file(slot, directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The commit at which the branch of a slot's repository stands.
    pub(crate) fn branch(&self, slot: Slot) -> Option<String> {
        let repository = self.file(slot, "repository.git").display().to_string();
        let output = self.git_command(&["--git-dir", &repository, "rev-parse", "-q", "--verify", "refs/heads/master"]);
        let text = { output }.output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap().trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

pub(crate) fn target(slot: Slot, version: &str) -> Target {
    let (service, operation) = (ServiceName::new("sample").unwrap(), OperationId::new("op-1").unwrap());
    Target::new(service, slot, Release::new(version).unwrap(), operation)
}
