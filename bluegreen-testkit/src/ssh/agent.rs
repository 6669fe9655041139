use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::patience::{PATIENCE, comes};
use crate::process::{Killed, run};

/// An agent of its own. Dropping it ends it.
pub struct Agent {
    _child: Killed,
    directory: TempDir,
}

impl Agent {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("agent-").tempdir().unwrap();
        let socket = directory.path().join("socket");
        let child = Killed::spawn(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
        // The socket is there a moment before it is listened on.
        assert!(comes(PATIENCE, || UnixStream::connect(&socket).is_ok()), "ssh-agent does not start");
        Self { _child: child, directory }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn add(&self, key: &Path) {
        run(Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", self.socket()));
    }
}
