//! Measures both routers on a real nginx, side by side with `ln -sf` and a reload:
//!
//! ```text
//! cargo run --release -p bluegreen-nginx --example bench-nginx
//! ```
//!
//! nginx must be installed; it runs with a prefix and ports of its own, and everything ends with the program, after about
//! three minutes. With the argument `buckets`, only the price of the flag check by its parts is measured. The apps and the clients run in this process and share the machine with nginx.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on ends")]

mod buckets;

use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen_core::{Endpoint, Instance, LocalHost, Router, Slot, Split};
use bluegreen_nginx::{Location, NginxConfig, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::address::free_address;
use bluegreen_testkit::nginx::{TestNginx, nginx_is_here};
use bluegreen_testkit::traffic::{App, Load, get};

const SWITCHES: usize = 100;
const KEEPING: usize = 32;
const OPENING: usize = 8;
const SPLIT_REQUESTS: u64 = 20_000;
/// Many short rounds, one kind after the other: what else the machine does then hits both.
const PRICE_ROUNDS: usize = 200;
const PRICE_REQUESTS: u64 = 800;
/// Asked over fresh connections right after a switch has returned.
const ASKED_AFTER: u32 = 20;

#[tokio::main]
async fn main() {
    if !nginx_is_here() {
        return;
    }
    if std::env::args().nth(1).is_some_and(|argument| argument == "buckets") {
        return buckets::table().await;
    }
    println!("{SWITCHES} switches under {KEEPING} keep-alive clients and {OPENING} that open a connection per request");
    println!("{:24} {:>8} {:>7} {:>9} {:>9} {:>11}", "", "requests", "failed", "median ms", "p99 ms", "old answers");
    flag_switches().await;
    link_switches().await;
    plain_switches().await;
    println!();
    splits().await;
    println!();
    price().await;
    println!();
    buckets::table().await;
}

async fn series(nginx: &TestNginx, name: &str, mut switch: impl AsyncFnMut(Slot, Slot)) {
    let load = Load::start(&nginx.address(), "shop.test", KEEPING, OPENING);
    let (mut times, mut old_answers) = (Vec::new(), 0);
    let mut live = Slot::Blue;
    for _ in 0..SWITCHES {
        let start = Instant::now();
        switch(live, live.other()).await;
        times.push(start.elapsed());
        live = live.other();
        for _ in 0..ASKED_AFTER {
            let answer = get(&nginx.address(), "shop.test", "/").await;
            old_answers += u32::from(answer.is_ok_and(|answer| answer.body != live.as_str()));
        }
        // The next switch begins when this one is over for every kind of router.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let tally = load.stop().await;
    times.sort();
    let millis = |index: usize| times[index].as_secs_f64() * 1000.0;
    let (median, late) = (millis(SWITCHES / 2), millis(SWITCHES * 99 / 100 - 1));
    let (requests, failed) = (tally.requests(), tally.failed());
    println!("{name:24} {requests:8} {failed:7} {median:9.1} {late:9.1} {old_answers:11}");
    for (failure, count) in tally.failures {
        println!("    {count} times: {failure}");
    }
}

async fn flag_switches() {
    let nginx = TestNginx::start().unwrap();
    let router = NginxRouter::new(LocalHost::new(), config(&nginx, "shop")).unwrap();
    let _apps = attached(&router).await;
    series(&nginx, "NginxRouter", async |from, to| {
        router.shift(Some(Split::all(from)), Split::all(to)).await.unwrap();
    })
    .await;
}

async fn link_switches() {
    let nginx = TestNginx::start().unwrap();
    let router = NginxSymlinkRouter::new(LocalHost::new(), config(&nginx, "shop")).unwrap();
    let _apps = attached(&router).await;
    series(&nginx, "NginxSymlinkRouter", async |from, to| {
        router.shift(Some(Split::all(from)), Split::all(to)).await.unwrap();
    })
    .await;
}

/// What a deploy script does: it is over when the commands have returned.
async fn plain_switches() {
    let nginx = TestNginx::start().unwrap();
    let router = NginxSymlinkRouter::new(LocalHost::new(), config(&nginx, "shop")).unwrap();
    let _apps = attached(&router).await;
    let path = |name: &str| nginx.path(name).display().to_string();
    let script = "ln -sf \"$1\" \"$2\" && nginx -p \"$3\" -c \"$3/nginx.conf\" -s reload";
    series(&nginx, "ln -sf and reload", async |_, to| {
        let site = path(&format!("sites-available/shop-{to}"));
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &site, &path("sites-enabled/shop"), &path("")]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
    .await;
}

/// A site with all of its files in the directory of this nginx.
fn config(nginx: &TestNginx, service: &str) -> NginxConfig {
    serde_json::from_value(nginx.settings(service)).unwrap()
}

async fn attached(router: &dyn Router) -> [App; 2] {
    let apps = [App::start("blue").await, App::start("green").await];
    router.attach(Slot::Blue, &apps[0].instance()).await.unwrap();
    router.attach(Slot::Green, &apps[1].instance()).await.unwrap();
    router.shift(None, Split::all(Slot::Blue)).await.unwrap();
    apps
}

async fn splits() {
    let nginx = TestNginx::start().unwrap();
    let router = NginxRouter::new(LocalHost::new(), config(&nginx, "shop")).unwrap();
    let _apps = attached(&router).await;
    println!("the measured split of NginxRouter over {SPLIT_REQUESTS} requests");
    for percent in [1, 10, 50] {
        let to = Split::toward(Slot::Green, percent).unwrap();
        router.shift(router.current().await.unwrap(), to).await.unwrap();
        let tally = Load::fixed(&nginx.address(), "shop.test", "/", 16, SPLIT_REQUESTS).await;
        let measured = tally.of("green") as f64 * 100.0 / SPLIT_REQUESTS as f64;
        println!("    asked for {percent:2} %: {measured:5.2} %, {} failed", tally.failed());
    }
}

/// The CPU time of nginx's workers per request, of the generated site and of the same site without its flag check: in
/// front of an nginx that answers at once, and for a path that the site answers itself, where the check is most of the
/// difference.
async fn price() {
    let backend = free_address();
    let _back = TestNginx::start_with(&format!("server {{ listen {backend}; return 200 x; }}")).unwrap();
    let front = TestNginx::start().unwrap();
    let instance = Instance::Running { version: None, endpoints: vec![Endpoint::http(&backend)] };
    for service in ["checked", "unchecked"] {
        let config = config(&front, service).location(Location::respond("/itself", 200, "x"));
        let router = NginxRouter::new(LocalHost::new(), config).unwrap();
        router.attach(Slot::Blue, &instance).await.unwrap();
        router.attach(Slot::Green, &instance).await.unwrap();
        router.shift(None, Split::all(Slot::Blue)).await.unwrap();
    }
    let site = front.read("conf.d/unchecked.conf");
    let (before, rest) = site.split_once("    set $bg_unchecked_slot none;").unwrap();
    let (_, after) = rest.split_once("    location = /deployment_id").unwrap();
    let fixed = format!("{before}    set $bg_unchecked_slot blue;\n    location = /deployment_id{after}");
    std::fs::write(front.path("conf.d/unchecked.conf"), fixed).unwrap();
    front.reload();

    let checked = NginxRouter::new(LocalHost::new(), config(&front, "checked")).unwrap();
    println!("the price of the flag check: CPU time of nginx per request");
    for slot in Slot::BOTH {
        checked.shift(checked.current().await.unwrap(), Split::all(slot)).await.unwrap();
        let [without, with] = costs(&front, "/").await;
        let percent = (with / without - 1.0) * 100.0;
        println!("    all to {slot}: empty backend   {without:5.1} µs without, {with:5.1} µs with it: {percent:+.1} %");
        let [without, with] = costs(&front, "/itself").await;
        println!("    all to {slot}: no backend      {without:5.1} µs without, {with:5.1} µs with it");
    }
}

/// Without the check, and with it.
async fn costs(front: &TestNginx, path: &'static str) -> [f64; 2] {
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..PRICE_ROUNDS {
        for turn in 0..2 {
            let kind = (round + turn) % 2;
            let host = ["unchecked.test", "checked.test"][kind];
            let before = front.cpu_time();
            let tally = Load::fixed(&front.address(), host, path, 16, PRICE_REQUESTS).await;
            assert_eq!(tally.failed(), 0);
            costs[kind].push((front.cpu_time() - before).as_secs_f64() * 1e6 / PRICE_REQUESTS as f64);
        }
    }
    // Rounds that shared their core with something else cost more; the quickest fifth did not.
    costs.map(|mut cost| {
        cost.sort_by(f64::total_cmp);
        cost[PRICE_ROUNDS / 5]
    })
}
