//! An nginx with its own prefix, configuration and ports.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bluegreen_core::testing::part_is_here;
use rustix::process::getuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::address::free_address;
use crate::patience::{PATIENCE, comes};
use crate::process::{answers, run, terminate};

/// Whether there is an nginx here.
pub fn nginx_is_here() -> bool {
    part_is_here("nginx", answers(&["nginx", "-v"]), "install nginx-light")
}

/// A running nginx; it ends with this value.
pub struct TestNginx {
    directory: TempDir,
    child: Option<Child>,
    address: String,
}

impl TestNginx {
    /// Starts one, or says why not.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts one with more directives in its `http` block.
    pub fn start_with(http: &str) -> Option<Self> {
        Self::start_as("www-data", http)
    }

    /// The same, with workers that are this user, if they can be another one than their master.
    pub fn start_as(user: &str, http: &str) -> Option<Self> {
        if !nginx_is_here() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("bluegreen-nginx-").tempdir().unwrap();
        // The workers run as another user and must be able to enter.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut nginx = Self { directory, child: None, address: free_address() };
        for name in ["conf.d", "sites-available", "sites-enabled"] {
            std::fs::create_dir(nginx.path(name)).unwrap();
        }
        std::fs::write(nginx.path("nginx.conf"), nginx.main_configuration(user, http)).unwrap();
        nginx.run();
        Some(nginx)
    }

    /// Starts it again after [`TestNginx::stop`].
    pub fn run(&mut self) {
        let child = Command::new("nginx").args(self.arguments()).stderr(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        let has_pid = || std::fs::read(self.path("nginx.pid")).is_ok_and(|pid| !pid.is_empty());
        assert!(comes(PATIENCE, || has_pid() && self.workers().len() >= 2), "nginx did not start: {}", self.log());
    }

    /// Ends it, by its own pid.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            terminate(&mut child);
        }
    }

    /// The settings of a site on this nginx, with all of its files in the test's directory.
    pub fn settings(&self, service: &str) -> Value {
        let path = |name: &str| self.path(name).display().to_string();
        let slot_file = |slot: &str| path(&format!("sites-available/{service}-{slot}"));
        let nginx: Vec<_> = std::iter::once("nginx".to_owned()).chain(self.arguments()).collect();
        json!({
            "service": service,
            "listen": [self.address],
            "server_names": [format!("{service}.test")],
            "layout": {
                "state_directory": path(&format!("state/{service}")),
                "site_file": path(&format!("conf.d/{service}.conf")),
                "slot_files": { "blue": slot_file("blue"), "green": slot_file("green") },
                "link": path(&format!("sites-enabled/{service}")),
                "pid_file": path("nginx.pid"),
                "error_log": path("error.log"),
            },
            // What makes them act on this nginx.
            "commands": { "nginx": nginx },
        })
    }

    /// Where the sites listen.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn link(&self, name: &str) -> Option<String> {
        std::fs::read_link(self.path(name)).ok().map(|target| target.display().to_string())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// What `nginx -t` says, and whether it likes the configuration.
    pub fn test(&self) -> (bool, String) {
        let output = Command::new("nginx").args(self.arguments()).arg("-t").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Reloads, and waits until the old workers are gone.
    pub fn reload(&self) {
        let old = self.workers();
        run(Command::new("nginx").args(self.arguments()).args(["-s", "reload"]));
        let are_new = || !self.workers().iter().any(|pid| old.contains(pid));
        assert!(comes(Duration::from_secs(10), are_new), "the reload does not end");
    }

    /// The pids of the workers, those that are shutting down included.
    pub fn workers(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// The CPU time that all workers have used.
    pub fn cpu_time(&self) -> Duration {
        let nanos = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(self.workers().iter().map(nanos).sum())
    }

    /// What an nginx command needs to mean this one.
    pub fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec!["-p".into(), path(""), "-c".into(), path("nginx.conf")]
    }

    fn main_configuration(&self, user: &str, http: &str) -> String {
        let directory = self.directory.path().display();
        let user = if getuid().is_root() { format!("user {user};") } else { String::new() };
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
