//! A real OpenSSH server for tests: its own keys, configuration and port, and nothing left of it afterwards.
#![allow(
    dead_code,
    unused_macros,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "tests"
)]

#[macro_use]
pub mod beam;
#[macro_use]
pub mod git;
#[path = "../../../tests/beam-app/releases.rs"]
pub mod releases;
pub mod servers;
pub mod terminal;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_ssh::{SshHost, SshHostBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long something may take that only fails to come where it is broken: the machine may have other things to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

const SSHD: &str = "/usr/sbin/sshd";

/// Debian's bash reads `~/.bashrc` for the first shell that sshd starts, which takes a quarter of a second on a
/// developer's machine, for every command. This makes it the second one.
const QUICK_SHELL: &str = "SetEnv SHLVL=1";

/// Whether there is an OpenSSH server here.
pub fn sshd_is_here() -> bool {
    part_is_here(SSHD, Path::new(SSHD).exists(), "install openssh-server")
}

/// Leaves the test where there is no OpenSSH server.
macro_rules! needs_sshd {
    () => {
        if !crate::common::sshd_is_here() {
            return;
        }
    };
}

/// A running server. Dropping it ends it, with all its sessions and what runs in them.
pub struct Sshd {
    child: Child,
    port: u16,
    directory: TempDir,
    program: PathBuf,
    /// Commands that were left when their sessions were ended, with the time at which they started.
    left: Vec<(i32, String)>,
}

impl Sshd {
    /// A server that accepts [`key`](Self::key), with its SFTP subsystem.
    pub fn start() -> Self {
        Self::with("Subsystem sftp internal-sftp")
    }

    /// A server of the next Debian; `None` where it is not unpacked.
    pub fn newer() -> Option<Self> {
        let (program, libexec) = (servers::newer("usr/sbin/sshd"), servers::newer("usr/lib/openssh"));
        let lines = format!("SshdSessionPath {0}/sshd-session\nSshdAuthPath {0}/sshd-auth", libexec.display());
        servers::newer_is_here("sshd of Debian 13", &program).then(|| Self::of(program, &lines))
    }

    /// A server with more lines in its configuration. The first of several counts.
    pub fn with(lines: &str) -> Self {
        Self::of(PathBuf::from(SSHD), lines)
    }

    fn of(program: PathBuf, lines: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().unwrap();
        let path = directory.path();
        keygen(&path.join("host_key"), &["-t", "ed25519", "-N", ""]);
        keygen(&path.join("key"), &["-t", "ed25519", "-N", ""]);
        fs::copy(path.join("key.pub"), path.join("authorized_keys")).unwrap();
        let at = path.display();
        let config = format!(
            "{lines}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n{QUICK_SHELL}\n"
        );
        fs::write(path.join("sshd_config"), config).unwrap();
        let _ = fs::create_dir("/run/sshd");
        let (child, port) = Self::spawn(&program, path);
        let sshd = Self { child, port, directory, program, left: Vec::new() };
        sshd.record_host_key(&sshd.known_hosts());
        sshd
    }

    /// The kernel chooses the port; someone else may take it before the server does, so this is tried again.
    fn spawn(program: &Path, directory: &Path) -> (Child, u16) {
        for _ in 0..5 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let mut child = Self::spawn_on(program, directory, port);
            let deadline = Instant::now() + PATIENCE;
            while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return (child, port);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(directory.join("log")).unwrap_or_default());
    }

    fn spawn_on(program: &Path, directory: &Path, port: u16) -> Child {
        let log = File::options().append(true).create(true).open(directory.join("log")).unwrap();
        let config = directory.join("sshd_config");
        Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(config)
            .args(["-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Ends the server, with what runs in its sessions, and starts it again on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Ends the server and its connections, but not the commands, and starts it again on the same port. The commands
    /// are as they are when the line is lost: their input is at its end, and nobody takes what they print. Returns their
    /// processes; those that still run when the server is dropped are ended then, with their children.
    pub fn restart_leaving_commands(&mut self) -> Vec<i32> {
        // Stopped before they are ended, from the top down: nothing new is begun, and all are still its descendants.
        send(self.child.id().cast_signed(), Signal::STOP);
        self.signal_sessions(Signal::STOP);
        let commands = self.commands();
        self.signal_sessions(Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.left.extend(commands.iter().filter_map(|pid| Some((*pid, started(*pid)?))));
        self.start_again();
        commands
    }

    fn start_again(&mut self) {
        self.child = Self::spawn_on(&self.program, self.path(), self.port);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not start again: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
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

    /// Accepts another key, or what else stands in a line of an `authorized_keys` file.
    pub fn authorize(&self, line: &str) {
        let file = self.path().join("authorized_keys");
        fs::write(&file, format!("{}{}\n", fs::read_to_string(&file).unwrap(), line.trim())).unwrap();
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

    /// A client that knows the host key and has the key.
    pub fn builder(&self) -> SshHostBuilder {
        self.bare_builder().key_file(self.key()).known_hosts(self.known_hosts())
    }

    /// A client that knows neither.
    pub fn bare_builder(&self) -> SshHostBuilder {
        SshHost::builder(format!("{}@127.0.0.1:{}", user(), self.port))
    }

    pub fn host(&self) -> SshHost {
        self.builder().build().unwrap()
    }

    /// The processes of the server that serve connections.
    pub fn sessions(&self) -> Vec<i32> {
        self.descendants().into_iter().filter(|pid| name_of(*pid).starts_with("sshd")).collect()
    }

    /// Sends a signal to all processes that serve connections.
    pub fn signal_sessions(&self, signal: Signal) {
        for pid in self.sessions() {
            send(pid, signal);
        }
    }

    /// How many commands run now: children of the sessions that are no sshd.
    pub fn commands(&self) -> Vec<i32> {
        // One without a name has ended meanwhile: a process of sshd's own, perhaps.
        let is_command = |name: String| !name.is_empty() && !name.starts_with("sshd");
        self.descendants().into_iter().filter(|pid| is_command(name_of(*pid))).collect()
    }

    fn descendants(&self) -> Vec<i32> {
        descendants(self.child.id().cast_signed())
    }

    fn kill(&mut self) {
        let all = self.descendants();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in all {
            send(pid, Signal::KILL);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
        for (pid, start) in &self.left {
            // It may be another's by now.
            if started(*pid).as_ref() == Some(start) {
                descendants(*pid).into_iter().chain([*pid]).for_each(|pid| send(pid, Signal::KILL));
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of sshd\n{}", self.log());
        }
    }
}

/// An agent of its own. Dropping it ends it.
pub struct Agent {
    child: Child,
    directory: TempDir,
}

impl Agent {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        let socket = directory.path().join("socket");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, directory };
        let deadline = Instant::now() + PATIENCE;
        // The socket is there a moment before it is listened on.
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "ssh-agent does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn add(&self, key: &Path) {
        let output = Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", self.socket()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key pair.
pub fn keygen(file: &Path, args: &[&str]) {
    run(Command::new("ssh-keygen").args(["-q", "-C", "test key"]).args(args).arg("-f").arg(file));
}

/// Runs a local command that must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The user that these tests run as.
pub fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process runs; one that has ended and is not yet reaped does not.
pub fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: still not so after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Repeats what has a time limit with a longer one, until it has begun within it: the machine may have other things to do.
pub async fn with_time_enough<T>(mut work: impl AsyncFnMut(Duration) -> Option<T>) -> T {
    for seconds in [1, 4, 16, 64] {
        if let Some(done) = work(Duration::from_secs(seconds)).await {
            return done;
        }
    }
    panic!("it does not begin within a minute");
}

fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// When a process started, in ticks since the machine did.
fn started(pid: i32) -> Option<String> {
    stat(pid, 19)
}

/// A word of what the kernel says of a process, counted from the one behind its name.
fn stat(pid: i32, word: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').nth(word)?.to_owned())
}

pub fn descendants(root: i32) -> Vec<i32> {
    let parent = |pid: i32| stat(pid, 1)?.parse::<i32>().ok();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<(i32, i32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = all.iter().filter(|(_, parent)| *parent == found[next]).map(|(pid, _)| *pid);
        let children: Vec<_> = children.collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}
