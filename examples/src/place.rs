//! Where an example keeps its files, and the processes that go on when the deployer dies.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::{Error, ErrorKind, Release, Result};
use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::traffic::Counts;

/// How long a process of an example may take to come up or to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A folder that belongs to this user alone.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// Opens the folder of an example, and makes it where it is not there yet.
    ///
    /// # Errors
    /// `Unauthorized` when it belongs to someone else.
    pub fn open(example: &str, given: Option<PathBuf>) -> Result<Self> {
        let of_this_user = || std::env::temp_dir().join(format!("bluegreen-{example}-{}", getuid().as_raw()));
        let root = given.unwrap_or_else(of_this_user);
        let shown = root.display().to_string();
        let at =
            |error: std::io::Error| Error::from(error).with_operation("open the example's folder").with("path", &shown);
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(at)?;
        let found = std::fs::symlink_metadata(&root).map_err(at)?;
        if !found.is_dir() || found.uid() != getuid().as_raw() {
            return Err(Error::new(ErrorKind::Unauthorized, "the example's folder belongs to someone else")
                .with("path", shown)
                .with_hint("choose another one: with `--dir`, where the example has it, or by the variable TMPDIR"));
        }
        Ok(Self { root: std::fs::canonicalize(root)? })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the state store.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The folder of the process runtime.
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    /// The proxy's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("proxy.socket")
    }

    /// Where the clients write what they have seen.
    pub fn counts_file(&self) -> PathBuf {
        self.root.join("counts.json")
    }

    /// Forgets an earlier run, whose processes must have been stopped.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<()> {
        for folder in [self.state(), self.services()] {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => std::fs::create_dir_all(&folder)?,
            }
        }
        for file in ["counts.json", "proxy.json", "proxy.address"] {
            match std::fs::remove_file(self.root.join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Builds the service's own binary with the same profile as this one, where cargo runs this; otherwise it must be
    /// there already.
    ///
    /// # Errors
    /// When it cannot be built, or is not there.
    pub fn build_service(&self, name: &str) -> Result<()> {
        let binary = binary(name)?;
        let release = binary.parent().is_some_and(|folder| folder.ends_with("release")).then_some("--release");
        if let (Some(cargo), Some(manifest)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR")) {
            let mut build = Command::new(cargo);
            // From the workspace's root, as the example itself is built: cargo then chooses the same features for the
            // dependencies, and need not build them a second time.
            build.args(["build", "--quiet", "--bin", name]);
            build.args(release).current_dir(PathBuf::from(manifest).join(".."));
            let status = build.status()?;
            if !status.success() {
                return Err(Error::new(ErrorKind::Unexpected, format!("cargo ended with {status}"))
                    .with_operation(format!("build {name}")));
            }
        }
        if !binary.exists() {
            return Err(Error::new(ErrorKind::NotFound, format!("{name} is not built"))
                .with("path", binary.display())
                .with_hint(format!(
                    "build it with `cargo build -p bluegreen-examples --bin {name}{}`",
                    release.map_or_else(String::new, |release| format!(" {release}"))
                )));
        }
        Ok(())
    }

    /// A release of the service that fails so many percent of its requests.
    ///
    /// # Errors
    /// When the version is not valid.
    pub fn release(&self, version: &str, fail_percent: u8) -> Result<Release> {
        let release = Release::new(version)?.with_artifact(binary("demo-service")?);
        Ok(release.with_setting("fail-percent", fail_percent.to_string()))
    }

    /// Starts the proxy as a process of its own, and returns its public address.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_proxy(&self) -> Result<SocketAddr> {
        self.spawn("proxy", &["serve"])?;
        self.wait_for("the proxy to listen", || self.control_socket().exists().then(|| self.public().ok()).flatten())
            .await
    }

    /// For the proxy: says where it listens.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn announce(&self, address: SocketAddr) -> Result<()> {
        let temporary = self.root.join("proxy.address.new");
        std::fs::write(&temporary, address.to_string())?;
        Ok(std::fs::rename(temporary, self.root.join("proxy.address"))?)
    }

    /// The public address.
    ///
    /// # Errors
    /// `NotFound` when no proxy was started.
    pub fn public(&self) -> Result<SocketAddr> {
        let text = std::fs::read_to_string(self.root.join("proxy.address"))?;
        text.parse()
            .map_err(|error| Error::new(ErrorKind::Corrupt, "not an address").with("text", text).with_source(error))
    }

    /// Starts the clients as a process of their own.
    ///
    /// # Errors
    /// When they do not begin to send.
    pub async fn start_traffic(&self, to: SocketAddr) -> Result<()> {
        self.spawn("traffic", &["traffic", &to.to_string()])?;
        self.wait_for("the first answer", || self.counts().ok().filter(|counts| counts.sent > 0)).await.map(drop)
    }

    /// What the clients have seen so far; nothing when there were none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts(&self) -> Result<Counts> {
        match Counts::read(&self.counts_file()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Counts::default()),
            read => Ok(read?),
        }
    }

    /// Stops the clients and returns what they have seen.
    ///
    /// # Errors
    /// When they do not end.
    pub async fn stop_traffic(&self) -> Result<Counts> {
        self.end("traffic").await?;
        self.counts()
    }

    /// Stops the proxy.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_proxy(&self) -> Result<()> {
        self.end("proxy").await
    }

    fn spawn(&self, name: &str, mode: &[&str]) -> Result<()> {
        let log = std::fs::File::create(self.root.join(format!("{name}.log")))?;
        let child = Command::new(std::env::current_exe()?)
            .args(mode)
            .arg("--dir")
            .arg(&self.root)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the terminal ends the deployer, not the traffic.
            .process_group(0)
            .spawn()?;
        Ok(std::fs::write(self.root.join(format!("{name}.pid")), child.id().to_string())?)
    }

    /// Ends a process by its pid, if it still is one of this program.
    async fn end(&self, name: &str) -> Result<()> {
        let file = self.root.join(format!("{name}.pid"));
        let Ok(text) = std::fs::read_to_string(&file) else { return Ok(()) };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|pid| is_ours(*pid)) {
            let _ = kill_process(pid, Signal::TERM);
            self.wait_for(&format!("the {name} process to end"), || (!is_ours(pid)).then_some(())).await?;
        }
        Ok(std::fs::remove_file(file)?)
    }

    async fn wait_for<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() > end {
                return Err(Error::new(ErrorKind::Timeout, format!("waited {PATIENCE:?} for {what}"))
                    .with_hint(format!("its log is in {}", self.root.display())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether this pid is a living process of this very program.
fn is_ours(pid: Pid) -> bool {
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let zombie = std::fs::read_to_string(folder.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
    let program = std::fs::read_link(folder.join("exe")).ok();
    let program = program.and_then(|program| program.file_name().map(|name| name.to_string_lossy().into_owned()));
    let own = std::env::current_exe().ok();
    let own = own.and_then(|own| own.file_name().map(|name| name.to_string_lossy().into_owned()));
    // A program that was rebuilt in the meantime reads "quickstart (deleted)".
    !zombie && own.is_some_and(|own| program.is_some_and(|program| program.starts_with(&own)))
}

/// A binary of this package, beside the folder of the examples.
///
/// # Errors
/// When this program is in no folder.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or_else(|| Error::config("this program is in no folder"))?;
    Ok(folder.join(name))
}
