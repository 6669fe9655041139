//! Debian's registry on a loopback port.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running registry. Dropping it ends it.
pub(crate) struct Registry {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("registry-").tempdir().unwrap();
            // The kernel chooses the port; someone else may take it before the registry does.
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let mut registry = Self { child: None, port, folder };
            if registry.resume_with("") {
                return registry;
            }
        }
        panic!("the registry does not start");
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on its port, with more lines in its configuration; false when someone else has the port.
    pub(crate) fn resume_with(&mut self, lines: &str) -> bool {
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:{}\"}}\n{lines}\n",
            self.folder.path().join("data").display(),
            self.port
        );
        std::fs::write(self.folder.path().join("config.yml"), config).unwrap();
        let log = File::options().append(true).create(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.folder.path().join("config.yml"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.child.as_mut().unwrap().try_wait().unwrap().is_none() && Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Ends it: nobody listens on its port any more.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}
