//! Measures the router on a real HAProxy:
//!
//! ```text
//! cargo run --release -p bluegreen-haproxy --example bench-haproxy
//! ```
//!
//! HAProxy must be installed; it runs with a configuration, a socket and ports of its own, and everything ends with the program, after
//! about a minute. The apps and the clients run in this process and share the machine with HAProxy.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on ends")]

use std::time::{Duration, Instant};

use bluegreen_core::{LocalHost, Router, Slot, Split};
use bluegreen_haproxy::{HaproxyBackend, HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::{TestHaproxy, haproxy_is_here};
use bluegreen_testkit::traffic::{App, Load, get};

const SWITCHES: usize = 100;
const KEEPING: usize = 32;
const OPENING: usize = 8;
/// A series goes on until it has so many, also on a slow machine.
const REQUESTS: u64 = 300_000;
const SPLIT_REQUESTS: u64 = 20_000;
/// Asked over fresh connections right after a switch has returned.
const ASKED_AFTER: u32 = 20;

#[tokio::main]
async fn main() {
    if !haproxy_is_here() {
        return;
    }
    println!("{SWITCHES} switches under {KEEPING} keep-alive clients and {OPENING} that open a connection per request");
    println!("{:24} {:>8} {:>7} {:>9} {:>9} {:>11}", "", "requests", "failed", "median ms", "p99 ms", "old answers");
    series("http", Mode::Http, false).await;
    series("http, with a state file", Mode::Http, true).await;
    series("tcp", Mode::Tcp, false).await;
    println!();
    splits().await;
}

struct Bench {
    haproxy: TestHaproxy,
    router: HaproxyRouter,
    _apps: [App; 2],
}

impl Bench {
    async fn start(mode: Mode, keeps_state: bool) -> Self {
        let word = if mode == Mode::Http { "http" } else { "tcp" };
        let haproxy = TestHaproxy::start(word, &HaproxyBackend::new("shop").mode(mode).render().unwrap()).unwrap();
        let router = HaproxyRouter::builder(LocalHost::new(), "shop")
            .socket(haproxy.socket().display().to_string())
            .state_directory(haproxy.path("state").display().to_string())
            .state_file(keeps_state)
            .build()
            .unwrap();
        let apps = [App::start("blue").await, App::start("green").await];
        router.attach(Slot::Blue, &apps[0].instance()).await.unwrap();
        router.attach(Slot::Green, &apps[1].instance()).await.unwrap();
        router.shift(None, Split::all(Slot::Blue)).await.unwrap();
        Self { haproxy, router, _apps: apps }
    }
}

async fn series(name: &str, mode: Mode, keeps_state: bool) {
    let bench = Bench::start(mode, keeps_state).await;
    let load = Load::start(&bench.haproxy.address(), "shop.test", KEEPING, OPENING);
    let (mut times, mut old_answers) = (Vec::new(), 0);
    let (mut live, begin) = (Slot::Blue, Instant::now());
    for _ in 0..SWITCHES {
        let start = Instant::now();
        bench.router.shift(Some(Split::all(live)), Split::all(live.other())).await.unwrap();
        times.push(start.elapsed());
        live = live.other();
        for _ in 0..ASKED_AFTER {
            let answer = get(&bench.haproxy.address(), "shop.test", "/").await;
            old_answers += u32::from(answer.is_ok_and(|answer| answer.body != live.as_str()));
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    // The rest of the requests comes without switches, if there is a rest at all.
    let mut tally = load.stop().await;
    let rest = REQUESTS.saturating_sub(tally.requests());
    let seconds = begin.elapsed().as_secs();
    if rest > 0 {
        println!("    {} requests in the {seconds} s of the switches; {rest} more after them", tally.requests());
        let more = Load::fixed(&bench.haproxy.address(), "shop.test", "/", 32, rest).await;
        for (answer, count) in more.answers {
            *tally.answers.entry(answer).or_default() += count;
        }
        for (failure, count) in more.failures {
            *tally.failures.entry(failure).or_default() += count;
        }
    }
    times.sort();
    let millis = |index: usize| times[index].as_secs_f64() * 1000.0;
    let (median, late) = (millis(SWITCHES / 2), millis(SWITCHES * 99 / 100 - 1));
    let (requests, failed) = (tally.requests(), tally.failed());
    println!("{name:24} {requests:8} {failed:7} {median:9.1} {late:9.1} {old_answers:11}");
    for (failure, count) in tally.failures {
        println!("    {count} times: {failure}");
    }
}

async fn splits() {
    let bench = Bench::start(Mode::Http, false).await;
    println!("the measured split over {SPLIT_REQUESTS} requests");
    for percent in [1, 10, 50] {
        let to = Split::toward(Slot::Green, percent).unwrap();
        bench.router.shift(bench.router.current().await.unwrap(), to).await.unwrap();
        let tally = Load::fixed(&bench.haproxy.address(), "shop.test", "/", 16, SPLIT_REQUESTS).await;
        let measured = tally.of("green") as f64 * 100.0 / SPLIT_REQUESTS as f64;
        println!("    asked for {percent:2} %: {measured:5.2} %, {} failed", tally.failed());
    }
}
