//! A shop of three compose services into an empty slot: by our pipeline, without soaks, and by plain
//! `docker compose up -d --wait` of the same project.
//!
//! ```text
//! cargo bench -p bluegreen-tests --bench bench-compose-deploy
//! ```
//!
//! A registry and nginx are started for this, and everything ends with the program, after some minutes. Once with an
//! image that both have to pull, program and all, and once with one that is there. Ours also records digests, migrates, makes the smoke
//! tests, switches nginx, and verifies the public address; `BENCH_STEPS=1` shows how long each step took.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a bench that cannot go on ends")]

use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen_core::{Pipeline, Release, Slot};
use bluegreen_testkit::docker::docker;

#[allow(dead_code, reason = "the tests use the rest")]
mod parts;
#[allow(dead_code, reason = "the tests use the rest")]
mod server;
#[path = "../../examples/compose-shop.rs"]
#[allow(dead_code, reason = "only its pipeline is measured")]
mod tool;

use server::Server;

const VERSION: &str = "2.0.0";
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.images.publish(VERSION, "none").await;
    println!("three services into an empty slot, {ROUNDS} rounds in turns, seconds");
    println!("{:44} {:>7} {:>7} {:>7}", "", "min", "median", "max");
    for (image, pulls) in [("the image is pulled", true), ("the image is there", false)] {
        let (mut plain, mut ours, mut more) = (Vec::new(), Vec::new(), Vec::new());
        // In turns, so that what else the machine does hits both.
        for _ in 0..ROUNDS {
            let by_compose = by_compose(&server, pulls).as_secs_f64();
            let by_us = by_us(&server, pulls).await.as_secs_f64();
            plain.push(by_compose);
            ours.push(by_us);
            more.push(by_us - by_compose);
        }
        println!("{image}");
        tell("  docker compose up -d --wait", plain);
        tell("  a deploy by this library, without soaks", ours);
        tell("  the difference in each round", more);
    }
}

/// The release; its image has to be pulled, or is there.
fn release(server: &Server, pulls: bool) -> Release {
    if pulls {
        let name = server.images.name_of(VERSION);
        docker(&["image", "rm", "-f", &name]);
        assert!(!docker(&["image", "inspect", &name]).status.success(), "the image stays");
        return server.shop.release(VERSION).unwrap();
    }
    server.shop.release(VERSION).unwrap().with_setting("PULL_POLICY", "missing")
}

async fn by_us(server: &Server, pulls: bool) -> Duration {
    let release = release(server, pulls);
    let pipeline: Pipeline = server.builder().check_interval(Duration::from_millis(50)).build().unwrap();
    let start = Instant::now();
    let report = pipeline.deploy(release).await.unwrap();
    let took = start.elapsed();
    if std::env::var_os("BENCH_STEPS").is_some() {
        println!("{report}");
    }
    pipeline.rollback().await.unwrap();
    pipeline.retire_now().await.unwrap();
    took
}

fn by_compose(server: &Server, pulls: bool) -> Duration {
    let release = release(server, pulls);
    let name = format!("{}-{}", server.shop.service, Slot::Green);
    let file = server.shop.folder.join("compose.yaml").display().to_string();
    let compose = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["compose", "-p", &name, "-f", &file]).args(words);
        command.env("VERSION", VERSION).env("SLOT", Slot::Green.as_str()).envs(release.settings());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let start = Instant::now();
    compose(&["up", "-d", "--wait"]);
    let took = start.elapsed();
    compose(&["down", "-t", "5"]);
    took
}

fn tell(name: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    println!("{name:44} {:7.2} {:7.2} {:7.2}", seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
}
