//! What a start costs over `docker compose up -d --wait` of the same project, and how soon a healthy container is
//! noticed: `bench-compose [ROUNDS] [REGISTRY]`.
//!
//! Needs a Docker engine, Compose v2 and a static busybox in /bin. With the address of a registry, `prepare` asks that
//! for the digest each time, as it does in a deploy.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bluegreen_core::{OperationId, Progress, Release, Runtime, ServiceName, Slot, Target};
use bluegreen_docker::{ComposeRuntime, ImageBuild};

#[tokio::main]
async fn main() -> bluegreen_core::Result<()> {
    let rounds = std::env::args().nth(1).map_or(7, |text| text.parse().unwrap());
    let registry = std::env::args().nth(2);
    let folder = tempfile::tempdir()?;
    let image = format!("{}/bench-compose:1", registry.as_deref().unwrap_or("bluegreen"));
    build(folder.path(), &image, registry.is_some()).await?;
    let policy = if registry.is_some() { "missing" } else { "never" };
    let compose = format!(
        "services:
  api:
    image: {image}
    init: true
    healthcheck: {{test: ['CMD', 'busybox', 'true'], interval: 1s}}
  web:
    image: {image}
    init: true
    healthcheck: {{test: ['CMD', 'busybox', 'true'], interval: 1s}}
"
    );
    let file = folder.path().join("compose.yaml");
    let file = file.to_str().unwrap();
    let runtime = ComposeRuntime::builder("bench", file).endpoint("http", "api", 3000).build()?;
    let release = Release::new("1")?;
    let target = Target::new(ServiceName::new("bench")?, Slot::Green, release, OperationId::new("bench")?);

    let (mut plain, mut ours, mut prepared, mut noticed) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        std::fs::write(file, compose.replace("init: true", &format!("init: true\n    pull_policy: {policy}")))?;
        let began = Instant::now();
        docker(&["compose", "-p", "bench-green", "-f", file, "up", "-d", "--wait"]);
        plain.push(began.elapsed());
        docker(&["compose", "-p", "bench-green", "-f", file, "down", "-t", "0"]);

        if registry.is_some() {
            std::fs::write(file, &compose)?;
        }
        let (began, since) = (Instant::now(), SystemTime::now());
        runtime.prepare(&target).await?;
        prepared.push(began.elapsed());
        runtime.start(&target).await?;
        ours.push(began.elapsed());
        let returned = SystemTime::now();
        noticed.push(returned.duration_since(last_healthy(since)).unwrap_or_default());
        runtime.stop(Slot::Green, Duration::ZERO).await?;
    }
    docker(&["rmi", "-f", &image]);
    println!("docker compose up -d --wait      {:?}", median(plain));
    println!("prepare and start                {:?}", median(ours));
    println!("  of which prepare               {:?}", median(prepared));
    println!("healthy, by the engine, until start returns  {:?}", median(noticed));
    Ok(())
}

async fn build(folder: &std::path::Path, image: &str, push: bool) -> bluegreen_core::Result<()> {
    std::fs::copy("/bin/busybox", folder.join("busybox"))?;
    let text = "FROM scratch\nCOPY busybox /bin/busybox\nENV PATH=/bin\nCMD [\"busybox\", \"sleep\", \"600\"]\n";
    std::fs::write(folder.join("Dockerfile"), text)?;
    ImageBuild::new(folder).tag(image).push(push).run(&Progress::none()).await.map(drop)
}

/// When the engine saw the last container become healthy.
fn last_healthy(since: SystemTime) -> SystemTime {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (since, until) = (seconds(since).to_string(), (seconds(SystemTime::now()) + 1).to_string());
    let filters = ["--filter", "event=health_status", "--filter", "label=com.docker.compose.project=bench-green"];
    let mut words = vec!["events", "--since", &since, "--until", &until, "--format", "{{.TimeNano}} {{.Action}}"];
    words.extend(filters);
    let told = docker(&words);
    let healthy = told.lines().filter(|line| line.ends_with(": healthy"));
    let nanos = healthy.filter_map(|line| line.split(' ').next()?.parse().ok()).max().unwrap();
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().unwrap();
    assert!(output.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
