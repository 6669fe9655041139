//! A server that the shop is deployed to: nginx and two slots of its own, and clients in front.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::pipeline::{PipelineBuilder, Report};
use bluegreen_core::state::State;
use bluegreen_core::{Error, Pipeline, Result, Slot};
use bluegreen_examples::nginx::Nginx;
use bluegreen_examples::shop_image;
use bluegreen_examples::traffic::{Clients, Counts, Running};
use bluegreen_testkit::docker::{docker, docker_lines, unique};
use bluegreen_testkit::http::get;
use tempfile::TempDir;
use tokio::sync::OwnedSemaphorePermit;

use crate::parts::{Images, parts_are_here, turn};
use crate::tool::Shop;

/// Kept on a busy machine too. A recovery waits that long where the holder is alive.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(8);

/// Nothing was deployed to it yet. Dropping it removes what it left on the engine.
pub(crate) struct Server {
    pub(crate) shop: Shop,
    pub(crate) images: Arc<Images>,
    _nginx: Nginx,
    _folder: TempDir,
    _turn: OwnedSemaphorePermit,
}

impl Server {
    /// One with the images that all tests share; `None`, and a line that says why, where parts are missing.
    pub(crate) async fn start() -> Option<Self> {
        if !parts_are_here() {
            return None;
        }
        let turn = turn().await;
        Some(Self::with(Images::shared(), turn))
    }

    pub(crate) fn with(images: Arc<Images>, turn: OwnedSemaphorePermit) -> Self {
        let folder = tempfile::Builder::new().prefix("bluegreen-compose-").tempdir().unwrap();
        let nginx = Nginx::start(folder.path().join("nginx")).unwrap();
        let shop = Shop {
            service: unique(""),
            image: images.name.clone(),
            from_registry: true,
            public: nginx.address(),
            ports: shop_image::two_ports().unwrap(),
            folder: folder.path().to_owned(),
        };
        shop.set_up().unwrap();
        Self { shop, images, _nginx: nginx, _folder: folder, _turn: turn }
    }

    /// The example's own pipeline, with shorter waits.
    pub(crate) fn builder(&self) -> PipelineBuilder {
        quick(self.shop.pipeline().unwrap())
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        self.builder().build().unwrap()
    }

    /// Deploys a good version, all traffic at once.
    pub(crate) async fn deploy(&self, version: &str) -> Result<Report> {
        self.deploy_by(&self.pipeline(), version, "none").await
    }

    /// Deploys a version that has this bug.
    pub(crate) async fn deploy_by(&self, pipeline: &Pipeline, version: &str, bug: &str) -> Result<Report> {
        self.images.publish(version, bug).await;
        pipeline.deploy(self.shop.release(version)?).await
    }

    /// Clients that keep their connection, and others that do not.
    pub(crate) fn clients(&self, per_second: u32) -> Running {
        Clients { address: self.shop.public, keeping: 6, fresh: 6, per_second: Some(per_second) }.start()
    }

    /// What a request to the public address gets.
    pub(crate) fn public_version(&self) -> String {
        let answer = get(self.shop.public, "/version").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.lines().last().unwrap().to_owned()
    }

    /// The pipeline, nginx and the record agree, nobody holds the lease, and this version answers.
    pub(crate) async fn is_settled_on(&self, version: &str) {
        self.is_settled(version, &[]).await;
    }

    /// The same, but for a retained slot that somebody took down: a rollback would start it.
    pub(crate) async fn is_settled_beside_a_missing_slot_on(&self, version: &str, missing: Slot) {
        self.is_settled(version, &[format!("{missing} is recorded as retained and is absent")]).await;
    }

    async fn is_settled(&self, version: &str, drift: &[String]) {
        let status = self.pipeline().status().await.unwrap();
        let found: Vec<_> = status.observed.drift.iter().map(ToString::to_string).collect();
        assert_eq!(found, drift, "{status}");
        assert!(status.lease().is_none() && status.operation().is_none(), "{status}");
        let live = status.observed.live.unwrap_or_else(|| panic!("nothing is live: {status}"));
        assert_eq!(status.observed.slot(live).version().map(|found| found.as_str()), Some(version), "{status}");
        assert!(status.observed.slot(live).is_running(), "{status}");
        assert_eq!(self.public_version(), version);
    }

    pub(crate) fn state(&self) -> State {
        let file = self.shop.folder.join("state").join(format!("{}.json", self.shop.service));
        State::from_bytes(&std::fs::read(file).unwrap()).unwrap()
    }

    /// What a slot has on the engine, past the tool.
    pub(crate) fn containers(&self, slot: Slot) -> Vec<String> {
        docker_lines(&["ps", "-a", "-q", "--no-trunc", "--filter", &self.project(slot)])
    }

    /// `docker compose down`, as a person types it.
    pub(crate) fn down_by_hand(&self, slot: Slot) {
        let name = format!("{}-{slot}", self.shop.service);
        let output = docker(&["compose", "-p", &name, "down", "-t", "1"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(self.containers(slot), Vec::<String>::new());
    }

    fn project(&self, slot: Slot) -> String {
        format!("label=com.docker.compose.project={}-{slot}", self.shop.service)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for slot in Slot::BOTH {
            for id in self.containers(slot) {
                docker(&["rm", "-f", "-v", &id]);
            }
            for id in docker_lines(&["network", "ls", "-q", "--filter", &self.project(slot)]) {
                docker(&["network", "rm", &id]);
            }
        }
    }
}

/// Waits that fit a shop that starts within seconds, on a machine that runs other tests too.
pub(crate) fn quick(builder: PipelineBuilder) -> PipelineBuilder {
    builder.check_interval(Duration::from_millis(100)).drain(Duration::from_secs(2)).lease_ttl(LEASE_TTL)
}

/// Stops the clients, none of which may have seen a request fail.
pub(crate) async fn none_failed(clients: Running) -> Counts {
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
    assert!(seen.sent > 100, "{seen:?}");
    seen
}

/// How an operation that must not succeed has ended, in one word, and the whole story.
pub(crate) fn ending(result: Result<Report>) -> (&'static str, Error) {
    let error = result.map(|report| panic!("it succeeded: {report}")).unwrap_err();
    let word = error.report().unwrap_or_else(|| panic!("no report: {}", error.chain())).outcome.word();
    (word, error)
}
