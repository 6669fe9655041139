//! Pulling, reading logs and copying out of images take no more memory for large things than for small ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, unused_imports, reason = "not all of it is needed here")]
mod support;

use bluegreen_core::{Progress, Runtime, Slot};
use bluegreen_docker::Engine;
use support::{Shop, needs_docker};

/// How much this process may grow, whatever the size: some buffers, and not the 100 MB that go through it.
const MAY_GROW: usize = 24 << 20;

/// The most memory that this process has had.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_go_through_in_constant_memory() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0', init: true}}");
    // 2 million lines.
    let script = "yes 'a line of a log that is about fifty bytes long' | head -n 2000000; sleep 600";
    shop.publish_large("app:1.0", script, 100 << 20);
    let (runtime, target) = (shop.runtime(), shop.version(Slot::Green, "1.0"));
    // What a small one takes is taken by now.
    runtime.inspect(Slot::Green).await.unwrap();
    let before = peak();

    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    let after_pull = peak();
    support::eventually("the log is written", async || {
        let id = shop.container(Slot::Green, "api");
        support::docker_ok(&["top", &id]).contains("sleep 600")
    })
    .await;
    let lines = runtime.logs(Slot::Green, 1000).await.unwrap();
    assert_eq!(lines.len(), 1000);
    let after_logs = peak();

    let to = shop.path("large");
    Engine::local().extract(&shop.images.name("app:1.0"), "/large", &to, &Progress::none()).await.unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().len(), 100 << 20);
    let after_copy = peak();
    println!(
        "peak memory: {} kB at rest; +{} kB pulling 100 MB and starting, +{} kB reading the log, +{} kB copying 100 MB out",
        before >> 10,
        (after_pull - before) >> 10,
        (after_logs - after_pull) >> 10,
        (after_copy - after_logs) >> 10
    );
    assert!(after_copy - before < MAY_GROW, "{before} {after_pull} {after_logs} {after_copy}");
}
