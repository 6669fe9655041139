//! A shop of three compose services into an empty slot: by our pipeline, without soaks, and by plain
//! `docker compose up -d --wait` of the same project.
//!
//! ```text
//! cargo bench -p bluegreen-tests --bench bench-compose-deploy
//! ```
//!
//! A registry and nginx are started for this, and everything ends with the program, after some minutes. Both have to
//! pull the image. Ours also records digests, migrates, makes the smoke tests, switches nginx, and verifies the public
//! address; `BENCH_STEPS=1` shows how long each step took.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a bench that cannot go on ends")]

use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen_core::{Pipeline, Slot};

#[path = "../compose/parts.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod parts;
#[path = "../compose/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;
#[path = "../../examples/compose-shop.rs"]
#[allow(dead_code, reason = "only its pipeline is measured")]
mod tool;

use parts::docker;
use server::Server;

const VERSION: &str = "2.0.0";
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.images.publish(VERSION, "none").await;
    let (mut plain, mut ours, mut more) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that what else the machine does hits both.
    for _ in 0..ROUNDS {
        let by_compose = by_compose(&server);
        let by_us = by_us(&server).await;
        plain.push(by_compose);
        ours.push(by_us);
        more.push(by_us.as_secs_f64() - by_compose.as_secs_f64());
    }
    println!("three services into an empty slot, {ROUNDS} rounds in turns, seconds");
    println!("{:44} {:>7} {:>7} {:>7}", "", "min", "median", "max");
    tell("docker compose up -d --wait", plain.iter().map(Duration::as_secs_f64).collect());
    tell("a deploy by this library, without soaks", ours.iter().map(Duration::as_secs_f64).collect());
    tell("the difference in each round", more);
}

async fn by_us(server: &Server) -> Duration {
    forget_image(server);
    let pipeline: Pipeline = server.builder().check_interval(Duration::from_millis(50)).build().unwrap();
    let start = Instant::now();
    let report = pipeline.deploy(server.shop.release(VERSION).unwrap()).await.unwrap();
    let took = start.elapsed();
    if std::env::var_os("BENCH_STEPS").is_some() {
        println!("{report}");
    }
    pipeline.rollback().await.unwrap();
    pipeline.retire_now().await.unwrap();
    took
}

fn by_compose(server: &Server) -> Duration {
    forget_image(server);
    let name = format!("{}-{}", server.shop.service, Slot::Green);
    let file = server.shop.folder.join("compose.yaml").display().to_string();
    let release = server.shop.release(VERSION).unwrap();
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

/// So that it has to be pulled.
fn forget_image(server: &Server) {
    docker(&["image", "rm", "-f", &format!("{}:{VERSION}", server.shop.image)]);
}

fn tell(name: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    println!("{name:44} {:7.2} {:7.2} {:7.2}", seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
}
