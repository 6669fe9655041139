//! A server with sshd and nginx of its own, clients in front of it, and the deploy tool as people copy it.

#![allow(dead_code, reason = "the tests use some of it, the bench the rest")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::pipeline::{PipelineBuilder, Report};
use bluegreen_core::state::State;
use bluegreen_core::{Pipeline, Release, Result, Slot};
use bluegreen_examples::traffic::{Clients, Running};
use bluegreen_testkit::address::free_ports;
use bluegreen_testkit::beam::{self, APP, mix_is_here};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::patience::comes;
use bluegreen_testkit::pids::{has, running_with, send};
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};
use bluegreen_testkit::traffic::get;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::tool::Settings;

/// A server that nothing was deployed to yet. Everything that runs on it ends with this value.
pub(crate) struct Server {
    pub(crate) sshd: Sshd,
    pub(crate) nginx: TestNginx,
    directory: TempDir,
    ports: [u16; 2],
    epmd_port: u16,
}

impl Server {
    /// Starts one, or says what is missing.
    pub(crate) fn start() -> Option<Self> {
        if !sshd_is_here() || !mix_is_here() {
            return None;
        }
        // A WebSocket may be silent for longer than nginx's minute.
        let nginx = TestNginx::start_with("proxy_read_timeout 10m;")?;
        let directory = tempfile::Builder::new().prefix("bluegreen-beam-").tempdir().unwrap();
        let [blue, green, epmd_port] = free_ports();
        let server = Self { sshd: Sshd::start(), nginx, directory, ports: [blue, green], epmd_port };
        server.reach_at(server.sshd.port());
        std::fs::write(server.path("env"), format!("DEMO_DATA={}\n", server.path("data").display())).unwrap();
        std::fs::write(server.path("deploy.toml"), server.toml()).unwrap();
        Some(server)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What is deployed, and where to.
    pub(crate) fn settings(&self) -> Settings {
        Settings::read(&self.path("deploy.toml")).unwrap()
    }

    /// The tool's own pipeline, with shorter waits. It has a connection of its own, as each process has.
    pub(crate) fn builder(&self) -> PipelineBuilder {
        let settings = self.settings();
        quick(settings.pipeline(&settings.host().unwrap()).unwrap())
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        self.builder().build().unwrap()
    }

    pub(crate) async fn deploy(&self, version: &str) -> Result<Report> {
        self.pipeline().deploy(self.release(version, "")).await
    }

    /// A release that behaves: see the app's README.
    pub(crate) fn release(&self, version: &str, behaviour: &str) -> Release {
        Release::new(version).unwrap().with_artifact(beam::release(version, behaviour))
    }

    /// Puts a release where the tool's build is to leave it.
    pub(crate) fn release_here(&self, version: &str) {
        let tarball = self.path(&format!("{APP}-{version}.tar.gz"));
        std::fs::copy(beam::release(version, ""), tarball).unwrap();
    }

    /// The record, as it is on the server.
    pub(crate) fn state(&self) -> State {
        let file = self.path("app/state").join(format!("{APP}.json"));
        State::from_bytes(&std::fs::read(file).unwrap()).unwrap()
    }

    /// What a request to the public address gets: the version, by a fresh connection.
    pub(crate) async fn public_version(&self) -> String {
        let address = self.nginx.address();
        let answer = get(&address, &address, "/version").await.unwrap();
        assert_eq!(answer.status, 200);
        answer.body
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.nginx.address().parse().unwrap()
    }

    /// Clients that keep their connection, and others that do not.
    pub(crate) fn clients(&self) -> Running {
        Clients { address: self.public(), keeping: 6, fresh: 6, per_second: Some(200) }.start()
    }

    /// Clients that open a connection for each request.
    pub(crate) fn fresh_clients(&self) -> Running {
        Clients { address: self.public(), keeping: 0, fresh: 6, per_second: Some(100) }.start()
    }

    /// The pipeline, the router and the record agree, nobody holds the lease, and this version answers.
    pub(crate) async fn is_settled_on(&self, version: &str) {
        self.is_settled(version, &[]).await;
    }

    /// As [`Self::is_settled_on`]; blue is kept for a rollback, which starts it, and somebody ended it.
    pub(crate) async fn is_settled_beside_a_stopped_blue_on(&self, version: &str) {
        self.is_settled(version, &["blue is recorded as retained and is stopped"]).await;
    }

    async fn is_settled(&self, version: &str, drift: &[&str]) {
        let status = self.pipeline().status().await.unwrap();
        let found: Vec<_> = status.observed.drift.iter().map(ToString::to_string).collect();
        assert!(
            found.len() == drift.len() && found.iter().zip(drift).all(|(found, said)| found.starts_with(said)),
            "{status}"
        );
        assert!(status.lease().is_none() && status.operation().is_none(), "{status}");
        let live = status.observed.live.unwrap_or_else(|| panic!("nothing is live: {status}"));
        assert_eq!(status.observed.slot(live).version().map(|found| found.as_str()), Some(version), "{status}");
        assert!(status.observed.slot(live).is_running(), "{status}");
        assert_eq!(self.public_version().await, version);
    }

    /// Kills the node in a slot.
    pub(crate) fn kill_node(&self, slot: Slot) {
        let mark = format!("SLOT={slot}");
        let pids: Vec<_> = self.processes().into_iter().filter(|pid| has(*pid, &mark)).collect();
        assert!(!pids.is_empty(), "nothing runs in {slot}");
        pids.into_iter().for_each(|pid| send(pid, Signal::KILL));
    }

    /// What marks the processes of the node that was started last in a slot.
    pub(crate) fn started_last(&self, slot: Slot) -> String {
        let record = std::fs::read_to_string(self.path(&format!("app/slots/{slot}/record"))).unwrap();
        let token = record.lines().find_map(|line| line.strip_prefix("token ")).unwrap();
        format!("BLUEGREEN_START={token}")
    }

    /// Whether anything with this mark runs.
    pub(crate) fn runs(&self, mark: &str) -> bool {
        self.processes().into_iter().any(|pid| has(pid, mark))
    }

    /// Lets the name `server` lead to this port.
    pub(crate) fn reach_at(&self, port: u16) {
        let config = format!(
            "Host server\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  HostKeyAlias {}\n",
            user(),
            self.sshd.key().display(),
            self.sshd.known_hosts().display(),
            self.sshd.name(),
        );
        std::fs::write(self.path("ssh_config"), config).unwrap();
    }

    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    pub(crate) fn epmd_port(&self) -> u16 {
        self.epmd_port
    }

    fn toml(&self) -> String {
        let [blue, green] = self.ports;
        let (address, epmd_port) = (self.nginx.address(), self.epmd_port);
        let (nginx, here) = (self.nginx.path("").display().to_string(), self.directory.path().display());
        format!(
            r#"
            app = "{APP}"
            server = "server"
            ssh_config = "{here}/ssh_config"
            public = "http://{address}"
            directory = "{here}/app"
            ports = [{blue}, {green}]
            epmd_port = {epmd_port}
            env_file = "{here}/env"
            build = ["sh", "-c", "test -f {here}/{APP}-$APP_VERSION.tar.gz"]
            tarball = "{here}/{APP}-{{version}}.tar.gz"
            migrate = "DemoApp.Release.migrate()"

            [nginx]
            listen = ["{address}"]
            default_server = true
            layout.state_directory = "{nginx}state/{APP}"
            layout.site_file = "{nginx}conf.d/{APP}.conf"
            layout.pid_file = "{nginx}nginx.pid"
            layout.error_log = "{nginx}error.log"
            commands.nginx = ["nginx", "-p", "{nginx}", "-c", "{nginx}nginx.conf"]
            "#
        )
    }

    /// All processes of the app on this server, its port mapper included: nothing else knows that port.
    fn processes(&self) -> Vec<i32> {
        running_with(&format!("ERL_EPMD_PORT={}", self.epmd_port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The nodes outlive the tool, as they should, but not the test.
        comes(Duration::from_secs(5), || {
            let processes = self.processes();
            processes.iter().for_each(|pid| send(*pid, Signal::KILL));
            processes.is_empty()
        });
        if std::thread::panicking() {
            eprintln!("--- log of nginx\n{}", self.nginx.log());
        }
    }
}

/// Waits that fit an app that starts within a second, on a machine that runs other tests too.
pub(crate) fn quick(builder: PipelineBuilder) -> PipelineBuilder {
    builder
        .check_interval(Duration::from_millis(100))
        .start_deadline(Duration::from_secs(30))
        .drain(Duration::from_secs(2))
        .lease_ttl(LEASE_TTL)
}

/// Kept on a busy machine too. A recovery waits that long where the holder is alive.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(8);
