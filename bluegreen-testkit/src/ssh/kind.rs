use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_core::testing::part_is_here;

use super::server::SshServer;
use super::unpacked::{newer, newer_is_here, python};
use crate::process::{answers, run};

/// A kind of server that is not this machine's OpenSSH.
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
    pub fn start(self) -> Option<SshServer> {
        if !self.is_here() {
            return None;
        }
        let directory = SshServer::directory();
        let at = directory.path();
        fs::create_dir_all(at.join("home/.ssh")).unwrap();
        fs::copy(at.join("key.pub"), at.join("home/.ssh/authorized_keys")).unwrap();
        if self.dropbear().is_some() {
            let (from, to) = (at.join("host_key"), at.join("dropbear_key"));
            run(Command::new("dropbearconvert").args(["openssh", "dropbear"]).arg(from).arg(to));
        }
        Some(SshServer::start(directory, move |at, port| {
            let mut command = self.command(at, port);
            command.process_group(0);
            command
        }))
    }

    fn is_here(self) -> bool {
        match self {
            // It looks for keys in the user's home only, so it gets one of its own there.
            Self::Dropbear => {
                part_is_here("dropbear", answers(&["unshare", "-m", "dropbear", "-V"]), "install dropbear-bin, as root")
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
        let script = format!("{}/servers/{}_server.py", env!("CARGO_MANIFEST_DIR"), self.module());
        let mut command = Command::new(python());
        command.arg(script).arg(port.to_string()).arg(host_key).arg(authorized);
        command
    }
}
