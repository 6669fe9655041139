use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_core::testing::part_is_here;
use rustix::process::Signal;

use super::server::SshServer;
use super::unpacked::{newer, newer_is_here};
use crate::pids::{descendants, name_of, send, started};

const SSHD: &str = "/usr/sbin/sshd";

/// Debian's bash reads `~/.bashrc` for the first shell that sshd starts, which takes a quarter of a second on a
/// developer's machine, for every command. This makes it the second one.
const QUICK_SHELL: &str = "SetEnv SHLVL=1";

/// Whether there is an OpenSSH server here.
pub fn sshd_is_here() -> bool {
    part_is_here(SSHD, Path::new(SSHD).exists(), "install openssh-server")
}

/// Writes the configuration of a server whose files are all in this directory, with more lines: the first of several
/// counts.
pub fn configure(directory: &Path, address: &str, lines: &str) {
    let at = directory.display();
    let config = format!(
        "{lines}\nListenAddress {address}\nHostKey {at}/host_key\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n{QUICK_SHELL}\n"
    );
    fs::write(directory.join("sshd_config"), config).unwrap();
    let _ = fs::create_dir("/run/sshd");
}

/// A running OpenSSH server. Dropping it ends it, with all its sessions and what runs in them.
pub struct Sshd {
    server: SshServer,
    /// Commands that were left when their sessions were ended, with the time at which they started.
    left: Vec<(i32, String)>,
}

impl Sshd {
    /// A server that accepts [`key`](SshServer::key), with its SFTP subsystem.
    pub fn start() -> Self {
        Self::with("Subsystem sftp internal-sftp")
    }

    /// A server of the next Debian; `None` where it is not unpacked.
    pub fn newer() -> Option<Self> {
        let (program, libexec) = (newer("usr/sbin/sshd"), newer("usr/lib/openssh"));
        let lines = format!("SshdSessionPath {0}/sshd-session\nSshdAuthPath {0}/sshd-auth", libexec.display());
        newer_is_here("sshd of Debian 13", &program).then(|| Self::of(program, &lines))
    }

    /// A server with more lines in its configuration. The first of several counts.
    pub fn with(lines: &str) -> Self {
        Self::of(PathBuf::from(SSHD), lines)
    }

    fn of(program: PathBuf, lines: &str) -> Self {
        let directory = SshServer::directory();
        let path = directory.path();
        fs::copy(path.join("key.pub"), path.join("authorized_keys")).unwrap();
        configure(path, "127.0.0.1", lines);
        let server = SshServer::start(directory, move |path, port| {
            let mut command = Command::new(&program);
            command.args(["-D", "-e", "-f"]).arg(path.join("sshd_config")).args(["-p", &port.to_string()]);
            command
        });
        Self { server, left: Vec::new() }
    }

    /// Ends the server, with what runs in its sessions, and starts it again on the same port.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server.start_again();
    }

    /// What ends the server, with what runs in its sessions, when it is called. [`restart`](Self::restart) starts it again.
    pub fn killer(&self) -> impl Fn() + Send + Sync + 'static {
        let server = self.server.pid();
        move || {
            // Stopped first, so that it begins nothing new.
            send(server, Signal::STOP);
            descendants(server).into_iter().chain([server]).for_each(|pid| send(pid, Signal::KILL));
        }
    }

    /// Ends the server and its connections, but not the commands, and starts it again on the same port. The commands
    /// are as they are when the line is lost: their input is at its end, and nobody takes what they print. Returns their
    /// processes; those that still run when the server is dropped are ended then, with their children.
    pub fn restart_leaving_commands(&mut self) -> Vec<i32> {
        // Stopped before they are ended, from the top down: nothing new is begun, and all are still its descendants.
        send(self.server.pid(), Signal::STOP);
        self.signal_sessions(Signal::STOP);
        let commands = self.commands();
        self.signal_sessions(Signal::KILL);
        self.server.kill_alone();
        self.left.extend(commands.iter().filter_map(|pid| Some((*pid, started(*pid)?))));
        self.server.start_again();
        commands
    }

    /// Accepts another key, or what else stands in a line of an `authorized_keys` file.
    pub fn authorize(&self, line: &str) {
        let file = self.path().join("authorized_keys");
        fs::write(&file, format!("{}{}\n", fs::read_to_string(&file).unwrap(), line.trim())).unwrap();
    }

    /// The processes of the server that serve connections.
    pub fn sessions(&self) -> Vec<i32> {
        self.descendants().into_iter().filter(|pid| name_of(*pid).starts_with("sshd")).collect()
    }

    /// Sends a signal to all processes that serve connections.
    pub fn signal_sessions(&self, signal: Signal) {
        self.sessions().into_iter().for_each(|pid| send(pid, signal));
    }

    /// The commands that run now: children of the sessions that are no sshd, and no shells that only wait for a script.
    pub fn commands(&self) -> Vec<i32> {
        // One without a name has ended meanwhile: a process of sshd's own, perhaps.
        let is_command = |name: String| !name.is_empty() && !name.starts_with("sshd");
        let is_command = |pid: &i32| is_command(name_of(*pid)) && !waits_for_a_script(*pid);
        self.descendants().into_iter().filter(is_command).collect()
    }

    fn descendants(&self) -> Vec<i32> {
        descendants(self.server.pid())
    }
}

impl Deref for Sshd {
    type Target = SshServer;

    fn deref(&self) -> &SshServer {
        &self.server
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.server.kill();
        for (pid, start) in &self.left {
            // It may be another's by now.
            if started(*pid).as_ref() == Some(start) {
                descendants(*pid).into_iter().chain([*pid]).for_each(|pid| send(pid, Signal::KILL));
            }
        }
    }
}

/// Whether this is a shell that the client has started in advance.
fn waits_for_a_script(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("IFS= read -r n;") && descendants(pid).is_empty()
}
