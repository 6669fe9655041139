//! SSH servers other than OpenSSH.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_ssh::{SshHost, SshHostBuilder};
use rustix::process::Signal;
use tempfile::TempDir;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dropbear,
    /// Of the next Debian.
    NewerDropbear,
    Asyncssh,
    Paramiko,
    Conch,
}

impl Kind {
    /// A running server; `None` where it is not installed.
    pub fn start(self) -> Option<Server> {
        self.is_here().then(|| Server::start(self))
    }

    fn is_here(self) -> bool {
        match self {
            // It looks for keys in the user's home only, so it gets one of its own there.
            Self::Dropbear => {
                let works = Command::new("unshare").args(["-m", "dropbear", "-V"]).output();
                part_is_here(
                    "dropbear",
                    works.is_ok_and(|output| output.status.success()),
                    "install dropbear-bin, as root",
                )
            }
            Self::NewerDropbear => {
                newer_is_here("dropbear of Debian 13", &newer("usr/sbin/dropbear")) && Self::Dropbear.is_here()
            }
            Self::Asyncssh | Self::Paramiko | Self::Conch => {
                part_is_here(self.module(), python().exists(), "run `.ci/install-ssh-servers target/ssh-servers`")
            }
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Dropbear | Self::NewerDropbear => "dropbear",
            Self::Asyncssh => "asyncssh",
            Self::Paramiko => "paramiko",
            Self::Conch => "conch",
        }
    }

    fn dropbear(self) -> Option<PathBuf> {
        match self {
            Self::Dropbear => Some("dropbear".into()),
            Self::NewerDropbear => Some(newer("usr/sbin/dropbear")),
            _ => None,
        }
    }

    fn command(self, at: &Path, port: u16) -> Command {
        let (host_key, authorized) = (at.join("host_key"), at.join("home/.ssh/authorized_keys"));
        if let Some(program) = self.dropbear() {
            let script = "mount --bind \"$1\" \"$(eval echo \"~$(id -un)\")\" && shift && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script, "sh"]).arg(at.join("home")).arg(program);
            command.args(["-F", "-E", "-s", "-p", &format!("127.0.0.1:{port}"), "-P"]).arg(at.join("pid"));
            command.arg("-r").arg(at.join("dropbear_key"));
            return command;
        }
        let script = format!("{}/tests/servers/{}_server.py", env!("CARGO_MANIFEST_DIR"), self.module());
        let mut command = Command::new(python());
        command.arg(script).arg(port.to_string()).arg(host_key).arg(authorized);
        command
    }
}

/// Where servers are put that are no packages of this machine.
fn unpacked(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ssh-servers").join(path)
}

/// The interpreter of the environment that holds the servers in Python.
fn python() -> PathBuf {
    unpacked("bin/python")
}

/// A file of the next Debian.
pub fn newer(path: &str) -> PathBuf {
    unpacked("trixie").join(path)
}

pub fn newer_is_here(part: &str, program: &Path) -> bool {
    part_is_here(part, program.exists(), "run `.ci/install-newer-ssh-servers target/ssh-servers/trixie`")
}

/// A running server. Dropping it ends it, with what runs in its sessions.
pub struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Server {
    fn start(kind: Kind) -> Self {
        let directory = tempfile::Builder::new().prefix("server-").tempdir().unwrap();
        let at = directory.path();
        for name in ["host_key", "key"] {
            super::keygen(&at.join(name), &["-t", "ed25519", "-N", ""]);
        }
        fs::create_dir_all(at.join("home/.ssh")).unwrap();
        fs::copy(at.join("key.pub"), at.join("home/.ssh/authorized_keys")).unwrap();
        if kind.dropbear().is_some() {
            super::run(
                Command::new("dropbearconvert")
                    .args(["openssh", "dropbear"])
                    .args([at.join("host_key"), at.join("dropbear_key")]),
            );
        }
        let (child, port) = spawn(kind, at);
        let host_key = fs::read_to_string(at.join("host_key.pub")).unwrap();
        fs::write(at.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        Self { child, port, directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A client that knows the host key and has the key.
    pub fn builder(&self) -> SshHostBuilder {
        SshHost::builder(format!("{}@127.0.0.1:{}", super::user(), self.port))
            .key_file(self.path().join("key"))
            .known_hosts(self.path().join("known_hosts"))
    }

    pub fn host(&self) -> SshHost {
        self.builder().build().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

/// The kernel chooses the port; someone else may take it before the server does, so this is tried again.
fn spawn(kind: Kind, at: &Path) -> (Child, u16) {
    for _ in 0..5 {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let log = fs::File::options().append(true).create(true).open(at.join("log")).unwrap();
        let mut command = kind.command(at, port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + super::PATIENCE;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (child, port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("{kind:?} does not start: {}", fs::read_to_string(at.join("log")).unwrap_or_default());
}

impl Drop for Server {
    fn drop(&mut self) {
        let all = super::descendants(self.child.id().cast_signed());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in all {
            super::send(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}
