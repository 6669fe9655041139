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
    let service = |rest: &str| format!("{{image: '{image}', init: true{rest}}}");
    let checked = service(", healthcheck: {test: [CMD, busybox, 'true'], interval: 1s}");
    let bench = Bench { file: folder.path().join("compose.yaml").display().to_string(), rounds, registry };
    println!("two services with healthchecks");
    bench.run(&format!("services: {{api: {checked}, web: {checked}}}")).await?;
    println!("one service without a healthcheck");
    bench.run(&format!("services: {{api: {}}}", service(""))).await?;
    docker(&["rmi", "-f", &image]);
    Ok(())
}

struct Bench {
    file: String,
    rounds: usize,
    registry: Option<String>,
}

impl Bench {
    async fn run(&self, compose: &str) -> bluegreen_core::Result<()> {
        let (file, registry) = (&*self.file, self.registry.is_some());
        let policy = if registry { "missing" } else { "never" };
        let runtime = ComposeRuntime::builder("bench", file).endpoint("http", "api", 3000).build()?;
        let release = Release::new("1")?;
        let target = Target::new(ServiceName::new("bench")?, Slot::Green, release, OperationId::new("bench")?);
        let (mut plain, mut ours, mut prepared, mut noticed) = (vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            std::fs::write(file, compose.replace("init: true", &format!("init: true, pull_policy: {policy}")))?;
            let began = Instant::now();
            docker(&["compose", "-p", "bench-green", "-f", file, "up", "-d", "--wait"]);
            plain.push(began.elapsed());
            docker(&["compose", "-p", "bench-green", "-f", file, "down", "-t", "0"]);

            if registry {
                std::fs::write(file, compose)?;
            }
            let (began, since) = (Instant::now(), SystemTime::now());
            runtime.prepare(&target).await?;
            prepared.push(began.elapsed());
            runtime.start(&target).await?;
            ours.push(began.elapsed());
            let returned = SystemTime::now();
            noticed.extend(last_healthy(since).map(|healthy| returned.duration_since(healthy).unwrap_or_default()));
            runtime.stop(Slot::Green, Duration::ZERO).await?;
        }
        println!("  docker compose up -d --wait      {:?}", median(plain));
        println!("  prepare and start                {:?}", median(ours));
        println!("    of which prepare               {:?}", median(prepared));
        if !noticed.is_empty() {
            println!("  healthy, by the engine, until start returns  {:?}", median(noticed));
        }
        Ok(())
    }
}

async fn build(folder: &std::path::Path, image: &str, push: bool) -> bluegreen_core::Result<()> {
    std::fs::copy("/bin/busybox", folder.join("busybox"))?;
    let text = "FROM scratch\nCOPY busybox /bin/busybox\nENV PATH=/bin\nCMD [\"busybox\", \"sleep\", \"600\"]\n";
    std::fs::write(folder.join("Dockerfile"), text)?;
    ImageBuild::new(folder).tag(image).push(push).run(&Progress::none()).await.map(drop)
}

/// When the engine saw the last container become healthy, if any has.
fn last_healthy(since: SystemTime) -> Option<SystemTime> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (since, until) = (seconds(since).to_string(), (seconds(SystemTime::now()) + 1).to_string());
    let filters = ["--filter", "event=health_status", "--filter", "label=com.docker.compose.project=bench-green"];
    let mut words = vec!["events", "--since", &since, "--until", &until, "--format", "{{.TimeNano}} {{.Action}}"];
    words.extend(filters);
    let told = docker(&words);
    let healthy = told.lines().filter(|line| line.ends_with(": healthy"));
    let nanos = healthy.filter_map(|line| line.split(' ').next()?.parse().ok()).max();
    nanos.map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos))
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
