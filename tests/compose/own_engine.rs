//! A second Docker engine, of a test's own, that it may stop and start: own socket, own data, own network addresses, and
//! nothing written to the machine's firewall.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use bluegreen_core::testing::part_is_here;
use bluegreen_testkit::patience::{PATIENCE, comes};
use bluegreen_testkit::pids::send;
use rustix::process::{Signal, getuid};
use tempfile::TempDir;

/// Dropping it ends it, with all that runs on it.
pub(crate) struct OwnEngine {
    child: Option<Child>,
    folder: TempDir,
}

impl OwnEngine {
    /// Starts one; `None`, and a line that says why, where that is not possible.
    pub(crate) fn start() -> Option<Self> {
        Self::prepared(|_| Ok(()))
    }

    /// One that has so much disk, and no more.
    pub(crate) fn with_disk(mebibytes: u32) -> Option<Self> {
        Self::prepared(|engine| {
            std::fs::create_dir(engine.path("data")).map_err(|error| error.to_string())?;
            let size = format!("size={mebibytes}m");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &size, "bluegreen-engine", &engine.path("data")]);
            let output = mount.output().map_err(|error| error.to_string())?;
            output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }

    fn prepared(prepare: impl FnOnce(&Self) -> Result<(), String>) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("bluegreen-engine-").tempdir().unwrap();
        let mut engine = Self { child: None, folder };
        let problem = match getuid().is_root() {
            true => prepare(&engine).and_then(|()| engine.run()).err(),
            false => Some("it can be started by root alone".to_owned()),
        };
        let advice = problem.as_deref().unwrap_or_default();
        part_is_here("a second Docker engine", problem.is_none(), advice).then_some(engine)
    }

    /// What `DOCKER_HOST` would say.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path("docker.sock"))
    }

    /// Waits until so many run.
    pub(crate) fn wait_for_containers(&self, count: usize) {
        comes(PATIENCE, || self.docker(&["ps", "-q"]).lines().count() >= count);
    }

    /// Stops it as the system's service manager would, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.run().unwrap();
    }

    fn run(&mut self) -> Result<(), String> {
        let log =
            File::options().append(true).create(true).open(self.path("log")).map_err(|error| error.to_string())?;
        self.make_bridge()?;
        // Each its own range, so that two of them do not share one.
        let pool = format!("base=10.{}.0.0/16,size=24", 128 + std::process::id() % 80);
        let mut command = Command::new("dockerd");
        command.args(["--host", &self.address(), "--data-root", &self.path("data"), "--exec-root", &self.path("exec")]);
        command.args(["--pidfile", &self.path("pid"), "--bridge", &self.bridge(), "--default-address-pool", &pool]);
        command.args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        self.child = Some(command.spawn().map_err(|error| format!("dockerd cannot be started: {error}"))?);
        let is_up = comes(PATIENCE, || self.answers());
        let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
        is_up.then_some(()).ok_or_else(|| format!("a second Docker engine does not start: {}", log()))
    }

    /// Of its own: an engine that has none removes the one of the machine's own engine.
    fn bridge(&self) -> String {
        let folder = self.path("");
        format!("bg-{}", folder.trim_end_matches('/').rsplit('-').next().unwrap_or_default())
    }

    fn make_bridge(&self) -> Result<(), String> {
        static MADE: AtomicU8 = AtomicU8::new(0);
        if Path::new("/sys/class/net").join(self.bridge()).exists() {
            return Ok(());
        }
        let (range, number) = (208 + std::process::id() % 40, MADE.fetch_add(1, Ordering::Relaxed));
        ip(&["link", "add", "name", &self.bridge(), "type", "bridge"])?;
        ip(&["address", "add", &format!("10.{range}.{number}.1/24"), "dev", &self.bridge()])
    }

    /// What a command on it prints; nothing when it fails.
    fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["--host", &self.address()]).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        !self.docker(&["version", "--format", "{{.Server.Version}}"]).trim().is_empty()
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        send(child.id().cast_signed(), Signal::TERM);
        let _ = child.wait();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        for id in self.docker(&["ps", "-aq"]).lines() {
            self.docker(&["rm", "-f", id]);
        }
        self.docker(&["network", "prune", "-f"]);
        self.end();
        unmount_below(self.folder.path());
        let _ = ip(&["link", "delete", &self.bridge()]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip cannot be run: {error}"))?;
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What an engine leaves mounted cannot be removed.
fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = Command::new("umount").args(["-l", point]).stderr(Stdio::null()).status();
    }
}
