//! The deploy tool `examples/web-service.rs` on three servers at once, each with systemd, nginx and sshd of its own.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use bluegreen_core::testing::sample;
use bluegreen_examples::traffic::{Clients, Counts, Running};
use bluegreen_tests::deployer::STEPS;

use crate::server::Server;
use crate::service::{Service, text};

const NAMES: [&str; 3] = ["web1", "web2", "web3"];

struct Fleet {
    servers: Vec<Server>,
}

impl Fleet {
    async fn start() -> Option<Self> {
        let servers: Option<Vec<_>> = NAMES.iter().map(|_| Server::start()).collect();
        let fleet = Self { servers: servers? };
        let hosts = fleet
            .servers
            .iter()
            .zip(NAMES)
            .map(|(server, name)| server.ssh_config().replacen("Host server", &format!("Host {name}"), 1));
        std::fs::write(fleet.path("ssh_config"), hosts.collect::<String>()).unwrap();
        let (folder, public) = (fleet.servers[0].folder.path().display(), fleet.servers[0].address());
        let settings = format!(
            r#"
            service = "shop"
            servers = ["web1", "deploy@web2", "web3"]
            max_failures = 1
            ssh_config = "{folder}/ssh_config"
            public = "http://{public}"
            user = "deploy"
            ports = [4001, 4002]
            artifact = "{folder}/{{version}}"
            run = ["python3", "shop.py"]

            [nginx]
            listen = ["80"]
            default_server = true
            layout.directory = "/srv/shop/nginx"
            commands.nginx = ["sudo", "-n", "nginx"]
            "#
        );
        std::fs::write(fleet.path("deploy.toml"), settings).unwrap();
        let script = fleet.succeeds(&["setup", "--print"]).await;
        for server in &fleet.servers {
            server.exec(&["env", "DEPLOY_USER=deploy", "sh", "-c", &script]);
        }
        Some(fleet)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.servers[0].folder.path().join(name)
    }

    fn build(&self, version: &str) {
        Service::build_in(&self.path(version), version);
    }

    async fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_systemd-deployer"));
        command.arg("--settings").arg(self.path("deploy.toml")).args(words);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words).await;
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn deploy(&self, version: &str) -> String {
        self.build(version);
        self.succeeds(&["deploy", version]).await
    }

    /// The version that each server answers with.
    fn answers(&self) -> Vec<String> {
        let ask = ["curl", "-fsS", "http://127.0.0.1/version"];
        self.servers.iter().map(|server| server.exec(&ask)).collect()
    }

    /// Clients in front of each server.
    fn clients(&self) -> Vec<Running> {
        let clients = |server: &Server| {
            let address: SocketAddr = format!("{}:80", server.address()).parse().unwrap();
            Clients { address, keeping: 3, fresh: 3, per_second: Some(60) }.start()
        };
        self.servers.iter().map(clients).collect()
    }
}

async fn no_request_is_lost(clients: Vec<Running>) {
    for running in clients {
        let Counts { sent, failed, first_failure, .. } = running.stop().await;
        assert_eq!(failed, 0, "of {sent}: {first_failure:?}");
        assert!(sent > 100, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_left_behind_and_brought_up_later_and_no_request_is_lost() {
    let Some(fleet) = Fleet::start().await else { return };
    fleet.deploy("1.0").await;
    let clients = fleet.clients();
    // Somebody else's program on the port of the new release.
    let squat = "nohup python3 -m http.server 4002 > /dev/null 2>&1 & echo $! > /run/squatter";
    fleet.servers[1].exec(&["sh", "-c", squat]);
    let report = fleet.deploy("1.1").await;
    assert_eq!(fleet.answers(), ["1.1", "1.0", "1.1"], "{report}");
    assert!(report.contains("web2") && report.contains("set aside since"), "{report}");
    let status = fleet.succeeds(&["status"]).await;
    assert!(status.contains("web2  blue 1.0") && status.contains("set aside"), "{status}");

    fleet.servers[1].exec(&["sh", "-c", "kill $(cat /run/squatter)"]);
    let resumed = fleet.succeeds(&["resume", "1.1"]).await;
    assert!(resumed.contains("1 member brought to 1.1"), "{resumed}");
    assert_eq!(fleet.answers(), ["1.1"; 3]);

    // A server whose sshd is away is left behind by a rollback, and brought along later.
    fleet.servers[2].exec(&["systemctl", "stop", "ssh"]);
    let report = fleet.succeeds(&["rollback"]).await;
    assert_eq!(fleet.answers(), ["1.0", "1.0", "1.1"], "{report}");
    fleet.servers[2].exec(&["systemctl", "start", "ssh"]);
    fleet.succeeds(&["resume", "1.0"]).await;
    assert_eq!(fleet.answers(), ["1.0"; 3]);
    no_request_is_lost(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_of_three_servers_killed_in_any_step_is_recovered_from_and_no_request_is_lost() {
    let Some(fleet) = Fleet::start().await else { return };
    fleet.deploy("0.1").await;
    fleet.deploy("0.2").await;
    let mut live = "0.2".to_owned();
    let clients = fleet.clients();
    for (number, (step, outcome)) in sample(STEPS, 1, |(_, outcome)| *outcome).into_iter().enumerate() {
        let version = format!("1.{number}");
        fleet.build(&version);
        let killed = fleet.run(&["--crash-at", step, "deploy", &version]).await;
        assert_eq!(killed.status.signal(), Some(9), "{step}: {}", text(&killed));
        let recovered = fleet.run(&["recover"]).await;
        assert!(recovered.status.success(), "{step}: {}", text(&recovered));
        if outcome == "succeeded" && step != "observe" {
            live = version;
        }
        assert_eq!(fleet.answers(), [&*live; 3], "{step}: {}", text(&recovered));
        let status = fleet.succeeds(&["status"]).await;
        assert!(!status.contains("set aside") && !status.contains("drift"), "{step}: {status}");
    }
    no_request_is_lost(clients).await;
}
