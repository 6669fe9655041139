//! A shop of three compose services behind nginx, deployed blue-green on the Docker engine of this machine.
//!
//! ```text
//! cargo run --example compose-shop
//! ```
//!
//! 1.0.0 goes live. 1.1.0 follows under traffic: pulled, started beside it, healthy, migrated, smoke-tested, then 10 %,
//! 50 % and 100 % of the traffic under gates on errors and latency, watched for a while more, and 1.0.0 kept warm for a
//! day. 1.2.0 turns bad under traffic, and is rolled back by itself, with its log in the report.
//!
//! Needs a Docker engine, Compose and nginx. The images come from a registry of the example's own where
//! `docker-registry` is installed. Everything that it starts or makes is gone at its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::gates::{BadRequests, RateGate};
use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::{Outcome, PipelineBuilder, Retention, Strategy, TrafficStep};
use bluegreen_core::{
    Command, Error, ErrorKind, FileStateStore, Host, LocalHost, Pipeline, Progress, Release, Result, Runtime, Secret,
    Slot, When,
};
use bluegreen_docker::{ComposeMigrator, ComposeRuntime, ComposeRuntimeBuilder, ImageBuild};
use bluegreen_examples::nginx::{self, Nginx};
use bluegreen_examples::registry::Registry;
use bluegreen_examples::shop_image;
use bluegreen_examples::traffic::Clients;
use bluegreen_http::{Capture, HttpCheck, PrometheusPage, SmokeTest, Step, all};
use bluegreen_nginx::NginxRouter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What is deployed, and what is wrong with it.
const VERSIONS: [(&str, &str); 3] = [("1.0.0", "none"), ("1.1.0", "none"), ("1.2.0", "errors-after=150")];

/// Enough for verdicts within seconds, little for any machine.
const PER_SECOND: u32 = 500;

/// A minute, two, and five would be usual; a demonstration wants to end.
const SOAKS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(3), Duration::from_secs(3)];

/// A day in which what only shows in daily use can still be rolled back. A later run, `pipeline.retire()`, ends it.
const KEPT_WARM: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("compose-shop-").tempdir()?;
    let registry = Registry::start(folder.path().join("registry"))?;
    let nginx = Nginx::start(folder.path().join("nginx"))?;
    let service = format!("shop-{}", std::process::id());
    let shop = Shop {
        image: registry.as_ref().map_or(service.clone(), |registry| format!("{}/{service}", registry.address())),
        from_registry: registry.is_some(),
        service,
        public: nginx.address(),
        ports: shop_image::two_ports()?,
        folder: folder.path().to_owned(),
    };
    let told = story(&shop).await;
    let cleaned = shop.clean_up().await;
    told.and(cleaned)
}

async fn story(shop: &Shop) -> Result<()> {
    let display = Arc::new(ProgressDisplay::stderr());
    let asked_to_end = CancellationToken::new();
    let cancelled = asked_to_end.clone();
    // Ctrl-C ends a deploy gracefully: it is undone, and all is cleaned up.
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| cancelled.cancel()) });

    shop.set_up()?;
    for (version, bug) in VERSIONS {
        shop.build(version, bug).await?;
    }
    let pipeline = || Ok::<_, Error>(shop.pipeline()?.observer(display.clone()).cancel_on(asked_to_end.clone()));
    let first = pipeline()?.build()?.deploy(shop.release("1.0.0")?).await?;
    println!("{first}");

    let clients = Clients { address: shop.public, keeping: 6, fresh: 6, per_second: Some(PER_SECOND) }.start();
    display.print(&format!("{PER_SECOND} requests per second are sent to http://{}/ from now on", shop.public));
    let watched = Shop::watched(pipeline()?)?.build()?;
    println!("{}", watched.deploy(shop.release("1.1.0")?).await?);

    display.print("1.2.0 is next: it passes every test, and fails one request in ten after the first 150");
    let error = match watched.deploy(shop.release("1.2.0")?).await {
        Err(error) => error,
        Ok(_) => return Err(Error::new(ErrorKind::Unexpected, "1.2.0 was not caught by the gates")),
    };
    match error.report() {
        Some(report) if matches!(report.outcome, Outcome::RolledBack { .. }) => println!("{report}"),
        _ => return Err(error),
    }

    println!("{}", watched.status().await?);
    let seen = clients.stop().await;
    println!("{} requests were sent to the public address:", seen.sent);
    for (version, answered) in &seen.answered {
        let own = seen.own_errors.get(version).copied().unwrap_or(0);
        println!("  {answered:>7} answered by {version}, {own} of them with its own error 500");
    }
    println!("  {:>7} failed because of a deploy", seen.failed);
    seen.first_failure.map_or(Ok(()), |failure| Err(Error::new(ErrorKind::Unexpected, failure)))
}

/// The shop, on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shop {
    pub(crate) service: String,
    /// Its files; those of nginx are in `nginx`.
    pub(crate) folder: PathBuf,
    /// The name of its image, without the tag.
    pub(crate) image: String,
    pub(crate) from_registry: bool,
    /// Where everyone reaches it.
    pub(crate) public: SocketAddr,
    /// Where its slots listen.
    pub(crate) ports: [u16; 2],
}

impl Shop {
    /// Makes the compose file, and the folder with the data that both slots share.
    pub(crate) fn set_up(&self) -> Result<()> {
        std::fs::create_dir_all(self.folder.join("data"))?;
        Ok(std::fs::write(self.folder.join("compose.yaml"), shop_image::COMPOSE)?)
    }

    pub(crate) fn runtime(&self) -> ComposeRuntimeBuilder {
        ComposeRuntime::builder(&self.service, self.folder.join("compose.yaml").display().to_string())
            .endpoint("api", "api", 3001)
            .endpoint("web", "web", 3000)
            // Both versions append to the same files, which the program is made for.
            .data_shared([self.folder.join("data").display().to_string()])
            // Nothing of it waits for anything else: what ends again and again is broken.
            .restarts_allowed(3)
    }

    /// Builds the image of a version, which has this bug, and pushes it.
    pub(crate) async fn build(&self, version: &str, bug: &str) -> Result<()> {
        let context = self.folder.join("image");
        if !context.exists() {
            shop_image::context(&context)?;
        }
        let build = ImageBuild::new(context).build_arg("VERSION", version).build_arg("BUG", bug);
        let build = build.tag(format!("{}:{version}", self.image)).push(self.from_registry);
        build.run(&Progress::none()).await.map(drop)
    }

    /// What the compose file wants to know about a version, beside the version itself.
    pub(crate) fn release(&self, version: &str) -> Result<Release> {
        let [first, last] = self.ports;
        Ok(Release::new(version)?
            .with_setting("IMAGE", &self.image)
            .with_setting("PULL_POLICY", if self.from_registry { "always" } else { "never" })
            .with_setting("API_PORTS", format!("{first}-{last}"))
            .with_setting("DATA", self.folder.join("data").display().to_string()))
    }

    /// The pipeline for slots on this machine.
    pub(crate) fn pipeline(&self) -> Result<PipelineBuilder> {
        self.pipeline_on(&(Arc::new(LocalHost::new()) as _), self.runtime())
    }

    /// What runs, who gets the traffic, and what has to be true. The server may be any: an `SshHost` too.
    pub(crate) fn pipeline_on(
        &self,
        server: &Arc<dyn Host>,
        runtime: ComposeRuntimeBuilder,
    ) -> Result<PipelineBuilder> {
        let public = format!("http://{}/health", self.public);
        let site = nginx::site(&self.folder.join("nginx"), self.public, &self.service).endpoint("api");
        let [blue, green] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let site = site.slots(([blue], [green]));
        let health = all([
            HttpCheck::builder("/health")
                .endpoint("api")
                .through(server.clone())
                .version_from_json("/version")
                .build()?,
            HttpCheck::builder("/api/v1/health")
                .endpoint("api")
                .through(server.clone())
                .expect_json("/status", "ok")
                .build()?,
            HttpCheck::builder("/api/health")
                .endpoint("web")
                .through(server.clone())
                .version_from_json("/version")
                .build()?,
        ]);
        let front = HttpCheck::builder("/").endpoint("web").through(server.clone());
        let runtime = runtime.build()?;
        Ok(Pipeline::builder(&self.service)
            .migrator(
                ComposeMigrator::builder(&runtime, "api")
                    .when(When::AfterStart)
                    .expand(["/shop", "migrate"])
                    .build()?,
            )
            .runtime(runtime)
            .router(NginxRouter::new(server.clone(), site)?)
            .store(FileStateStore::new(self.folder.join("state")))
            .health(health)
            .smoke(a_call_can_be_made(server)?)
            .smoke(front.expect_body_contains("Welcome to the shop").build()?)
            .verify(HttpCheck::builder(public).version_from_json("/version").build()?)
            .check_interval(Duration::from_millis(200))
            .retention(Retention::For(KEPT_WARM)))
    }

    /// For a release that can be compared with the one before: step by step, under gates.
    pub(crate) fn watched(pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        let errors =
            PrometheusPage::builder().by_label("http_requests_total", r#"status=~"5..""#).endpoint("api").build()?;
        let slow = PrometheusPage::builder().by_bucket("http_request_duration_seconds", 0.5).endpoint("api").build()?;
        let [tenth, half, bake] = SOAKS;
        // A verdict takes requests, not time: a busy machine may have longer.
        let longest = Duration::from_secs(60);
        let steps = [
            TrafficStep::new(10, tenth).max_soak(longest),
            TrafficStep::new(50, half).max_soak(longest),
            TrafficStep::new(100, Duration::ZERO),
        ];
        let warm_up = Duration::from_millis(500);
        Ok(pipeline
            .strategy(Strategy::canary(steps).bake(bake).max_bake(longest))
            // One in a hundred, for a verdict within seconds; one in a thousand is the default.
            .gate(RateGate::builder(BadRequests::Failed, errors).limit(0.01).warm_up(warm_up).build()?)
            .gate(RateGate::builder(BadRequests::Slow, slow).warm_up(warm_up).build()?)
            .gate_interval(Duration::from_millis(250)))
    }

    /// Takes both slots and the images away.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let runtime = self.runtime().build()?;
        for slot in Slot::BOTH {
            runtime.stop(slot, Duration::from_secs(5)).await?;
        }
        runtime.prune(0).await?;
        // What was built and never deployed is not for `prune`.
        let names = VERSIONS.map(|(version, _)| format!("{}:{version}", self.image));
        LocalHost::new().run(&Command::new("docker").args(["image", "rm"]).args(names)).await.map(drop)
    }
}

/// What a customer does, with a token that is never shown.
fn a_call_can_be_made(server: &Arc<dyn Host>) -> Result<SmokeTest> {
    let login = json!({"email": "test@example.com", "password": "{{password}}"});
    let authorized = |step: Step| step.header("authorization", "Bearer {{token}}").expect_status(201);
    SmokeTest::builder("a call can be made")
        .endpoint("api")
        .through(server.clone())
        .secret("password", Secret::new("test123"))
        .step(Step::post("log in", "/api/v1/auth/login").json(login).capture("token", Capture::json("/token")))
        .step(authorized(
            Step::post("create a key", "/admin/api/v1/api-keys")
                .json(json!({"name": "smoke-{{random}}", "scopes": ["calls:read"]}))
                .expect_json_exists("/key"),
        ))
        .step(authorized(
            Step::post("create a call", "/api/v1/calls")
                .json(json!({"toNumber": "+15551234567", "estimatedMinutes": 1}))
                .expect_json("/state", "queued"),
        ))
        .build()
}
