//! A registry for an example: Debian's `docker-registry` on a port of the loopback, with its data in a folder.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::{Error, ErrorKind, Result};

/// A running registry. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    child: Option<Child>,
    folder: PathBuf,
    address: SocketAddr,
}

impl Registry {
    /// Starts one whose files are all in this folder, which it makes; `None` when `docker-registry` is not installed.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(folder: impl Into<PathBuf>) -> Result<Option<Self>> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            folder.join("data").display()
        );
        std::fs::write(folder.join("config.yml"), config)?;
        let mut registry = Self { child: None, folder, address };
        match registry.resume() {
            Ok(()) => Ok(Some(registry)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its address, which is what names of images begin with.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it again, with all that it had.
    ///
    /// # Errors
    /// `NotFound` when it is not installed; or when it does not come up.
    pub fn resume(&mut self) -> Result<()> {
        let log = File::options().append(true).create(true).open(self.folder.join("log"))?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.folder.join("config.yml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C in the terminal is for the deployer.
        let mut child = command.process_group(0).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(self.address).is_err() {
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(Error::new(ErrorKind::Timeout, format!("the registry does not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        Ok(())
    }

    /// Ends it: nobody listens at its address any more.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}
