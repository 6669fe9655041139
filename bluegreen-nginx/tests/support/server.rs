//! An nginx with its own prefix, configuration and ports.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{PerSlot, Slot};
use bluegreen_nginx::{Commands, Layout, NginxConfig};
use tempfile::TempDir;

/// An address of the loopback that was free a moment ago. Clients connect from 127.0.0.1, so that none of them can be
/// given its port meanwhile.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// Whether there is no nginx here.
pub(crate) fn nginx_is_missing() -> bool {
    let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
    !part_is_here("nginx", found.is_ok(), "install nginx-light")
}

/// A running nginx; it ends with this value.
pub(crate) struct TestNginx {
    directory: TempDir,
    child: Option<Child>,
    address: String,
}

impl TestNginx {
    /// Starts one, or says why not.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts one with more directives in its `http` block.
    pub(crate) fn start_with(http: &str) -> Option<Self> {
        if nginx_is_missing() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("bluegreen-nginx-").tempdir().unwrap();
        // The workers run as another user and must be able to enter.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut nginx = Self { directory, child: None, address: free_address() };
        for name in ["conf.d", "sites-available", "sites-enabled"] {
            std::fs::create_dir(nginx.path(name)).unwrap();
        }
        std::fs::write(nginx.path("nginx.conf"), nginx.main_configuration(http)).unwrap();
        nginx.run();
        Some(nginx)
    }

    /// Starts it again after [`TestNginx::stop`].
    pub(crate) fn run(&mut self) {
        let child = Command::new("nginx").args(self.arguments()).stderr(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        let start = Instant::now();
        while std::fs::read(self.path("nginx.pid")).map_or(true, |pid| pid.is_empty()) || self.workers().len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(10), "nginx did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it, by its own pid.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let start = Instant::now();
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > Duration::from_secs(5) {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A site on this nginx, with all of its files in the test's directory.
    pub(crate) fn config(&self, service: &str) -> NginxConfig {
        self.files(service).listen(self.address()).server_name(format!("{service}.test"))
    }

    /// Such a site without a listener and a name.
    pub(crate) fn files(&self, service: &str) -> NginxConfig {
        NginxConfig::new(service)
            .layout(self.layout(service))
            .commands(self.commands())
            .confirm_deadline(Duration::from_secs(10))
    }

    /// What makes the commands act on this nginx.
    pub(crate) fn commands(&self) -> Commands {
        Commands::new().nginx(std::iter::once("nginx".to_owned()).chain(self.arguments()))
    }

    /// The test's directory as the place of a site's files.
    pub(crate) fn layout(&self, service: &str) -> Layout {
        let path = |name: &str| self.path(name).display().to_string();
        let slot_file = |slot: Slot| path(&format!("sites-available/{service}-{slot}"));
        Layout::debian()
            .state_directory(path(&format!("state/{service}")))
            .site_file(path(&format!("conf.d/{service}.conf")))
            .slot_files(PerSlot::from_fn(slot_file))
            .link(path(&format!("sites-enabled/{service}")))
            .pid_file(path("nginx.pid"))
            .error_log(path("error.log"))
    }

    /// Where [`TestNginx::config`]'s site listens.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn link(&self, name: &str) -> Option<String> {
        std::fs::read_link(self.path(name)).ok().map(|target| target.display().to_string())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// What `nginx -t` says, and whether it likes the configuration.
    pub(crate) fn test(&self) -> (bool, String) {
        let output = Command::new("nginx").args(self.arguments()).arg("-t").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Reloads, and waits until the old workers are gone.
    pub(crate) fn reload(&self) {
        let old = self.workers();
        let status = Command::new("nginx").args(self.arguments()).args(["-s", "reload"]).stderr(Stdio::null()).status();
        assert!(status.unwrap().success());
        let start = Instant::now();
        while self.workers().iter().any(|pid| old.contains(pid)) {
            assert!(start.elapsed() < Duration::from_secs(10), "the reload does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The pids of the workers, those that are shutting down included.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// The CPU time that all workers have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let nanos = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(self.workers().iter().map(nanos).sum())
    }

    /// What an nginx command needs to mean this one.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec!["-p".into(), path(""), "-c".into(), path("nginx.conf")]
    }

    fn main_configuration(&self, http: &str) -> String {
        let directory = self.directory.path().display();
        let root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        let user = if root { "user www-data;" } else { "" };
        format!(
            "{user} worker_processes 2; daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log notice;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off;
                 client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
                 fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
                 {http}
                 include {directory}/conf.d/*.conf;
                 include {directory}/sites-enabled/*;
             }}\n"
        )
    }
}

impl Drop for TestNginx {
    fn drop(&mut self) {
        self.stop();
    }
}
