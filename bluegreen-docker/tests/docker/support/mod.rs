//! What the tests need: an engine, images, a registry, a compose file; all removed again, also when a test fails.

mod data;
mod docker;
mod host;
mod images;
mod page;
mod proxy;
mod registry;
mod shop;

pub(crate) use data::{data_image, data_is_here, needs_data};
pub(crate) use docker::{docker, docker_ok, engine_socket};
pub(crate) use host::NotingHost;
pub(crate) use images::{Images, remove_nameless};
pub(crate) use page::{get, serves};
pub(crate) use proxy::{Fate, proxy};
pub(crate) use registry::Registry;
pub(crate) use shop::{START_DEADLINE, Shop, WAITS, grace};

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;

/// Whether the parts are here.
pub(crate) fn parts_are_here() -> bool {
    let answers = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        output.is_ok_and(|status| status.success())
    };
    let parts: [(&str, &str, &[&str]); 5] = [
        ("a Docker engine", "start one with .ci/start-dockerd", &["docker", "version"]),
        ("docker compose", "install it with .ci/install-compose-v2", &["docker", "compose", "version"]),
        ("docker-compose", "install docker-compose", &["docker-compose", "version"]),
        ("docker-registry", "install docker-registry", &["docker-registry", "--version"]),
        ("a static busybox", "install busybox-static", &["busybox", "true"]),
    ];
    parts.into_iter().all(|(part, advice, words)| part_is_here(part, answers(words), advice))
}

/// Leaves the test where the parts are missing.
macro_rules! needs_docker {
    () => {
        if !$crate::support::parts_are_here() {
            return;
        }
    };
}
pub(crate) use needs_docker;

/// A name that no other test has, in this run or another.
pub(crate) fn unique(what: &str) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    format!("bg{what}{}{}", std::process::id(), random.to_lowercase())
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: still not so after two minutes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
