//! How often a deploy waits for its server: what it takes longer over a long line, in round trips of that line.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use bluegreen_core::{Command, Host, Pipeline, Report, Result, Secret};
use bluegreen_testkit::delay::delayed;
use bluegreen_tests::round_trips::RoundTrips;

use crate::service::Service;
use crate::tool::Settings;

const ONE_WAY: Duration = Duration::from_millis(100);

/// The tool's settings, over a line that delays what it carries.
async fn far_settings(service: &Service) -> Settings {
    let server = format!("{}:22", service.server.address()).parse().unwrap();
    let port = delayed(server, ONE_WAY).await.unwrap().port();
    let line = service.server.ssh_config().replace(&service.server.address(), &format!("127.0.0.1\n  Port {port}"));
    std::fs::write(service.path("far_ssh_config"), line).unwrap();
    let settings = std::fs::read_to_string(service.path("deploy.toml")).unwrap();
    std::fs::write(service.path("far.toml"), settings.replace("/ssh_config\"", "/far_ssh_config\"")).unwrap();
    Settings::read(&service.path("far.toml")).unwrap()
}

async fn far(service: &Service) -> Pipeline {
    let settings = far_settings(service).await;
    Service::quick(settings.pipeline(&settings.hosts().unwrap()).unwrap()).build().unwrap()
}

/// What the second took longer than the first, step by step and as a whole, in round trips.
fn round_trips(near: &Report, far: &Report) -> f64 {
    let trips =
        |near: Duration, far: Duration| (far.as_secs_f64() - near.as_secs_f64()) / (2.0 * ONE_WAY.as_secs_f64());
    for step in &far.steps {
        let before =
            near.steps.iter().find(|other| other.step == step.step).map_or(Duration::ZERO, |other| other.duration);
        println!("{:>24} {:5.1}", step.step.to_string(), trips(before, step.duration));
    }
    let all = trips(near.duration, far.duration);
    println!("{:>24} {all:5.1}", near.kind.to_string());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_and_a_rollback_wait_for_their_server_no_more_often_than_this() {
    let Some(service) = Service::start().await else { return };
    let (near, far) = (service.pipeline(), far(&service).await);
    let mut reports = Vec::new();
    service.deploy("1.0").await;
    service.deploy("1.1").await;
    for (version, pipeline) in [("1.2", &near), ("1.3", &far)] {
        reports.push(pipeline.deploy(service.release(version).await).await.unwrap());
    }
    for pipeline in [&near, &far] {
        reports.push(pipeline.rollback().await.unwrap());
    }
    let [deploy, deploy_far, rollback, rollback_far] = &reports[..] else { unreachable!() };
    let trips = [round_trips(deploy, deploy_far), round_trips(rollback, rollback_far)];
    // Measured: 40, the connection included, and 21. The rest is for a machine that was busier at the second time.
    assert!(trips[0] <= 70.0 && trips[1] <= 40.0, "{trips:?}");
}

/// How often a deploy waits for its server, and a rollback, beyond the connection.
const DEPLOY: u32 = 30;
const ROLLBACK: u32 = 20;

/// Long enough for no heartbeat to come between.
const TTL: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_deploy_and_a_rollback_ask_their_server_no_more_often_than_this() {
    let Some(service) = Service::start().await else { return };
    service.deploy("1.0").await;
    service.deploy("1.1").await;
    let trips = RoundTrips::default();
    let settings = Settings::read(&service.path("deploy.toml")).unwrap();
    let builder = settings.pipeline(&[trips.of(settings.hosts().unwrap().remove(0))]).unwrap();
    let pipeline = Service::quick(builder)
        .check_interval(Duration::from_millis(1))
        .lease_ttl(TTL)
        .observer(trips.clone())
        .build()
        .unwrap();
    let mut counts = Vec::new();
    for version in ["1.2", "1.3", "1.4"] {
        pipeline.deploy(service.release(version).await).await.unwrap();
        let deploy = trips.take("deploy");
        pipeline.rollback().await.unwrap();
        let rollback = trips.take("rollback");
        if deploy <= DEPLOY && rollback <= ROLLBACK {
            return;
        }
        counts.push((deploy, rollback));
    }
    panic!("each time it was more than {DEPLOY} and {ROLLBACK}: {counts:?}");
}

/// The shortest of a few tries: a busy machine only adds.
async fn fastest<T: Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        ask().await.unwrap();
        fastest = fastest.min(start.elapsed());
    }
    println!("{what}: {:.1} round trips", fastest.as_secs_f64() / (2.0 * ONE_WAY.as_secs_f64()));
    fastest
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_of_a_server_is_one_round_trip() {
    let Some(service) = Service::start().await else { return };
    let host = far_settings(&service).await.hosts().unwrap().remove(0);
    host.run(&Command::new("true")).await.unwrap();
    let long = Command::script(format!("cat > /dev/null # {}", "x".repeat(50_000)));
    let secret = Command::new("true").env("TOKEN", Secret::new("x")).stdin(vec![b'x'; 50_000]);
    let asked = [
        ("a command", fastest("a command", async || host.run(&Command::new("true")).await).await),
        ("a long script", fastest("a long script", async || host.run(&long).await).await),
        ("one with input and a secret", fastest("one with input and a secret", async || host.run(&secret).await).await),
        ("a file to read", fastest("a file to read", async || host.read("/etc/hostname").await).await),
        ("a file to write", fastest("a file to write", async || host.write("/tmp/file", b"text", 0o600).await).await),
        ("a link", fastest("a link", async || host.symlink("file", "/tmp/link").await).await),
    ];
    for (what, took) in asked {
        assert!(took < 4 * ONE_WAY, "{what} took {took:?}, and a round trip takes {:?}", 2 * ONE_WAY);
    }
}
