//! The deploy tool `examples/web-service.rs` on a server of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{Pipeline, Release};
use bluegreen_examples::traffic::{Clients, Running};

use crate::server::Server;
use crate::tool::Settings;

/// A server that its administrator has prepared for the tool.
pub(crate) struct Service {
    pub(crate) server: Server,
}

impl Service {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("", "").await
    }

    /// With more lines in the settings, and in the part about nginx.
    pub(crate) async fn start_with(more: &str, nginx: &str) -> Option<Self> {
        let service = Self { server: Server::start()? };
        let (address, folder) = (service.server.address(), service.server.folder.path().display());
        let toml = format!(
            r#"
            service = "shop"
            servers = ["server"]
            ssh_config = "{folder}/ssh_config"
            public = "http://{address}"
            user = "deploy"
            ports = [4001, 4002]
            artifact = "{folder}/{{version}}"
            run = ["python3", "shop.py"]
            shared = ["uploads"]
            {more}

            [nginx]
            listen = ["80"]
            default_server = true
            layout.directory = "/srv/shop/nginx"
            commands.nginx = ["sudo", "-n", "nginx"]
            {nginx}
            "#
        );
        std::fs::write(service.path("deploy.toml"), toml).unwrap();
        std::fs::write(service.path("ssh_config"), service.server.ssh_config()).unwrap();
        let printed = service.run(&["setup", "--print"]).await;
        assert!(printed.status.success(), "{}", text(&printed));
        let script = String::from_utf8(printed.stdout).unwrap();
        service.server.exec(&["env", "DEPLOY_USER=deploy", "sh", "-c", &script]);
        Some(service)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.server.folder.path().join(name)
    }

    /// Puts a version where the tool finds it.
    pub(crate) fn build(&self, version: &str) {
        Self::build_in(&self.path(version), version);
    }

    pub(crate) fn build_in(build: &Path, version: &str) {
        std::fs::create_dir_all(build).unwrap();
        let program = include_str!("../../examples/services/shop.py");
        std::fs::write(build.join("shop.py"), format!("{program}\n# {version}\n")).unwrap();
    }

    /// Runs the tool.
    pub(crate) async fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_systemd-deployer"));
        command.arg("--settings").arg(self.path("deploy.toml")).args(words);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    pub(crate) async fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words).await;
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) async fn deploy(&self, version: &str) {
        let release = self.release(version).await;
        self.pipeline().deploy(release).await.unwrap_or_else(|error| panic!("{}", error.render()));
    }

    pub(crate) async fn release(&self, version: &str) -> Release {
        self.build(version);
        let settings = Settings::read(&self.path("deploy.toml")).unwrap();
        settings.build(&version.parse().unwrap()).await.unwrap()
    }

    /// The tool's own, with shorter waits.
    pub(crate) fn pipeline(&self) -> Pipeline {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> PipelineBuilder {
        let settings = Settings::read(&self.path("deploy.toml")).unwrap();
        Self::quick(settings.pipeline(&settings.hosts().unwrap()).unwrap())
    }

    pub(crate) fn quick(builder: PipelineBuilder) -> PipelineBuilder {
        let builder = builder.check_interval(Duration::from_millis(100)).drain(Duration::from_secs(2));
        builder.lease_ttl(Duration::from_secs(10))
    }

    pub(crate) fn clients(&self) -> Running {
        let address: SocketAddr = format!("{}:80", self.server.address()).parse().unwrap();
        Clients { address, keeping: 6, fresh: 6, per_second: Some(150) }.start()
    }

    pub(crate) fn public_version(&self) -> String {
        self.server.exec(&["curl", "-fsS", "http://127.0.0.1/version"])
    }

    /// The pipeline, the router and the record agree, nobody holds the lease, and this version answers.
    pub(crate) async fn is_settled_on(&self, version: &str) {
        let status = self.pipeline().status().await.unwrap();
        assert!(
            status.observed.drift.is_empty() && status.lease().is_none() && status.operation().is_none(),
            "{status}"
        );
        let live = status.observed.live.unwrap();
        assert_eq!(status.observed.slot(live).version().map(|found| found.as_str()), Some(version), "{status}");
        assert_eq!(self.public_version(), version);
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
