//! A server with systemd as its first process, sshd and sudo: a container whose programs are this machine's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{OperationId, Release, ServiceName, Slot, Target};
use bluegreen_release::{SystemdRuntime, SystemdRuntimeBuilder};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::docker::{docker, docker_ok, engine_is_here, unique};
use bluegreen_testkit::process::run;
use bluegreen_testkit::ssh::keygen;
use tempfile::TempDir;

/// A root file system on the engine, and a network of that name: the engine's own bridge may be gone where another engine was
/// started with one of its own.
struct Image {
    name: String,
}

impl Image {
    /// One for all tests that run at the same time.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(Self { name: unique("systemd") });
            let script = include_str!("image.sh");
            let import = "sh -c \"$1\" | docker import - \"$2\"";
            run(Command::new("sh").args(["-c", import, "sh", script, &image.name]));
            docker_ok(&["network", "create", &image.name]);
            *shared = Arc::downgrade(&image);
            image
        })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.name]);
        docker(&["network", "rm", &self.name]);
    }
}

pub(crate) struct Server {
    container: String,
    pub(crate) folder: TempDir,
    _image: Arc<Image>,
}

impl Server {
    /// `None`, and a line that says why, where parts are missing.
    pub(crate) fn start() -> Option<Self> {
        let parts = [
            ("systemd", std::path::Path::new("/lib/systemd/systemd").exists()),
            ("sshd", std::path::Path::new("/usr/sbin/sshd").exists()),
            ("sudo", std::path::Path::new("/usr/bin/sudo").exists()),
        ];
        if !engine_is_here()
            || !parts.iter().all(|(part, is_there)| part_is_here(part, *is_there, "README.md lists the packages"))
        {
            return None;
        }
        let image = Image::shared();
        let words = [
            "run",
            "-d",
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
            "--tmpfs",
            "/run:exec",
            "--tmpfs",
            "/run/lock",
            "--tmpfs",
            "/tmp",
            "-v",
            "/sys/fs/cgroup:/sys/fs/cgroup:rw",
            "--network",
            &image.name,
            "--cgroupns=host",
            "-v",
            "/usr:/usr:ro",
            "-e",
            "container=docker",
            "--stop-signal",
            "SIGRTMIN+3",
            &image.name,
            "/lib/systemd/systemd",
        ];
        let container = docker_ok(&words);
        let folder = tempfile::Builder::new().prefix("bluegreen-systemd-").tempdir().unwrap();
        let server = Self { container, folder, _image: image };
        server.await_boot();
        let key = server.key();
        keygen(&key);
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let script = "umask 077; for home in /home/deploy /root; do mkdir -p $home/.ssh; echo \"$1\" > $home/.ssh/authorized_keys; done; \
                      chown -R deploy:deploy /home/deploy/.ssh";
        server.exec(&["sh", "-c", script, "sh", public.trim()]);
        let host_key = server.exec(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]);
        std::fs::write(server.known_hosts(), format!("server {host_key}\n")).unwrap();
        Some(server)
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    pub(crate) fn await_boot(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let state = docker(&["exec", &self.container, "systemctl", "is-system-running"]);
            match String::from_utf8_lossy(&state.stdout).trim() {
                "running" => return,
                "degraded" => panic!("{}", self.exec(&["systemctl", "--failed", "--no-pager"])),
                other => assert!(Instant::now() < until, "the server does not boot: {other}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The whole server, and all that runs on it.
    pub(crate) fn reboot(&self) {
        docker_ok(&["restart", "-t", "20", &self.container]);
        self.await_boot();
    }

    /// Its machine is switched off and on again.
    pub(crate) fn power_cut(&self) {
        docker_ok(&["kill", &self.container]);
        docker_ok(&["start", &self.container]);
        self.await_boot();
    }

    /// Runs a command as root, past the adapter.
    pub(crate) fn exec(&self, words: &[&str]) -> String {
        docker_ok(&[&["exec", &self.container], words].concat())
    }

    /// The same, and whether it succeeded.
    pub(crate) fn try_exec(&self, words: &[&str]) -> bool {
        docker(&[&["exec", &self.container], words].concat()).status.success()
    }

    pub(crate) fn address(&self) -> String {
        docker_ok(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &self.container])
    }

    pub(crate) fn host(&self, user: &str) -> SshHost {
        SshHost::builder(format!("{user}@{}", self.address()))
            .key_file(self.key())
            .known_hosts(self.known_hosts())
            .host_key_alias("server")
            .build()
            .unwrap()
    }

    /// Lets the name `server` lead to it, for the user who deploys.
    pub(crate) fn ssh_config(&self) -> String {
        format!(
            "Host server\n  HostName {}\n  User deploy\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             HostKeyAlias server\n",
            self.address(),
            self.key().display(),
            self.known_hosts().display(),
        )
    }

    /// What a user would write, with short waits.
    pub(crate) fn builder(&self) -> SystemdRuntimeBuilder {
        SystemdRuntime::builder(self.host("deploy"), "shop").user("deploy").command(["bin/shop", "{port}"])
    }

    pub(crate) async fn set_up(&self, builder: SystemdRuntimeBuilder) -> SystemdRuntime {
        let runtime = builder.build().unwrap();
        let words = ["env", "DEPLOY_USER=deploy", "sh", "-c", &runtime.setup_script()];
        self.exec(&words);
        runtime
    }

    /// A release whose program is this script; it is given its port.
    pub(crate) fn release(&self, version: &str, script: &str) -> Release {
        let build = self.folder.path().join(unique(&format!("build-{version}-")));
        std::fs::create_dir_all(build.join("bin")).unwrap();
        let program = build.join("bin/shop");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        Release::new(version).unwrap().with_artifact(build)
    }

    /// The process of a slot with the time of its start, as systemd and the kernel tell it.
    pub(crate) fn alive(&self, slot: Slot) -> Option<String> {
        let unit = format!("shop-{slot}.service");
        let pid = self.exec(&["systemctl", "show", "-p", "MainPID", "--value", &unit]);
        let stat = "cut -d' ' -f22 \"/proc/$1/stat\" 2> /dev/null || :";
        let start = self.exec(&["sh", "-c", stat, "sh", &pid]);
        (pid != "0" && !start.is_empty()).then(|| format!("{pid}@{start}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.container]);
    }
}

pub(crate) fn target(slot: Slot, release: Release) -> Target {
    Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op-1").unwrap())
}
