use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::keys::keygen;
use crate::patience::{PATIENCE, comes};
use crate::pids::{descendants, send};

type Program = dyn Fn(&Path, u16) -> Command + Send + Sync;

/// A running server, whatever its program is. Dropping it ends it, with what runs in its sessions.
pub struct SshServer {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
    program: Box<Program>,
}

impl SshServer {
    /// A directory with the server's key, and with one of a client.
    pub(super) fn directory() -> TempDir {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().unwrap();
        ["host_key", "key"].iter().for_each(|name| keygen(&directory.path().join(name)));
        directory
    }

    /// Starts the program that belongs to this directory and a port.
    pub(super) fn start(directory: TempDir, program: impl Fn(&Path, u16) -> Command + Send + Sync + 'static) -> Self {
        let mut server = Self { child: None, port: 0, directory, program: Box::new(program) };
        // The kernel chooses the port; someone else may take it before the server does, so this is tried again.
        for _ in 0..5 {
            server.port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if server.comes_up() {
                server.record_host_key(&server.known_hosts());
                return server;
            }
        }
        panic!("the SSH server does not start: {}", server.log());
    }

    /// On the same port.
    pub(super) fn start_again(&mut self) {
        assert!(self.comes_up(), "the SSH server does not start again: {}", self.log());
    }

    fn comes_up(&mut self) -> bool {
        let log = File::options().append(true).create(true).open(self.path().join("log")).unwrap();
        let mut command = (self.program)(self.path(), self.port);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut has_ended = false;
        let is_over = comes(PATIENCE, || {
            has_ended = child.try_wait().unwrap().is_some();
            has_ended || TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        self.child = Some(child);
        let is_up = is_over && !has_ended;
        if !is_up {
            self.kill_alone();
        }
        is_up
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A directory that lives as long as the server.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A private key that the server accepts.
    pub fn key(&self) -> PathBuf {
        self.path().join("key")
    }

    /// A file that records the server's host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.path().join("known_hosts")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// The public host key: type and base64.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.path().join("host_key.pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The name in a `known_hosts` file.
    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    pub fn record_host_key(&self, file: &Path) {
        let before = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, format!("{before}{} {}\n", self.name(), self.host_key())).unwrap();
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id().cast_signed()
    }

    /// Ends it, with what runs in its sessions.
    pub(super) fn kill(&mut self) {
        if self.child.is_some() {
            let all = descendants(self.pid());
            self.kill_alone();
            all.into_iter().for_each(|pid| send(pid, Signal::KILL));
        }
    }

    pub(super) fn kill_alone(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the SSH server\n{}", self.log());
        }
    }
}
