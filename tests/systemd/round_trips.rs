//! How often a deploy waits for its server: what it takes longer over a long line, in round trips of that line.

use std::time::Duration;

use bluegreen_core::{Pipeline, Report};
use bluegreen_testkit::delay::delayed;

use crate::service::Service;
use crate::tool::Settings;

const ONE_WAY: Duration = Duration::from_millis(100);

/// The tool's pipeline, over a line that delays what it carries.
async fn far(service: &Service) -> Pipeline {
    let server = format!("{}:22", service.server.address()).parse().unwrap();
    let port = delayed(server, ONE_WAY).await.unwrap().port();
    let line = service.server.ssh_config().replace(&service.server.address(), &format!("127.0.0.1\n  Port {port}"));
    std::fs::write(service.path("far_ssh_config"), line).unwrap();
    let settings = std::fs::read_to_string(service.path("deploy.toml")).unwrap();
    std::fs::write(service.path("far.toml"), settings.replace("/ssh_config\"", "/far_ssh_config\"")).unwrap();
    let settings = Settings::read(&service.path("far.toml")).unwrap();
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
    // Measured: 101 to 105, and 59. The rest is for a machine that was busier at the second time.
    assert!(trips[0] <= 140.0 && trips[1] <= 90.0, "{trips:?}");
}
