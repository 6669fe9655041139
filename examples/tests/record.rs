//! What the example tools tell of the record: the alert on an old deploy, and the history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::testing::{Fault, Faults, Faulty};
use bluegreen_core::{Clock, Pipeline, Release, Timestamp};
use bluegreen_examples::cli::{Wanted, check_age, exit_code, history};
use clap::Parser;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that stands still, so many days ago.
#[derive(Debug)]
struct DaysAgo(u32);

impl Clock for DaysAgo {
    fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now() - DAY * self.0)
    }
}

struct Shop {
    runtime: MemoryRuntime,
    router: MemoryRouter,
    store: MemoryStateStore,
    faults: Faults,
}

impl Shop {
    fn new() -> Self {
        let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
        Self { runtime, router, store: MemoryStateStore::new(), faults: Faults::new() }
    }

    fn pipeline(&self, by: &str, days_ago: u32) -> Pipeline {
        Pipeline::builder("shop")
            .holder(by)
            .runtime(Faulty::new(self.runtime.clone(), &self.faults))
            .router(self.router.clone())
            .store(self.store.clone())
            .health(MemoryHealth::new())
            .verify(MemoryPublic::new(&self.router, &self.runtime))
            .check_interval(Duration::from_millis(1))
            .clock(DaysAgo(days_ago))
            .build()
            .unwrap()
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
}

fn wanted(words: &[&str]) -> Wanted {
    Arguments::try_parse_from(["history"].iter().chain(words)).unwrap().wanted
}

#[tokio::test]
async fn a_deploy_that_is_too_long_ago_is_one_line_and_a_failure() {
    let shop = Shop::new();
    let check = async |days: u32| check_age(&shop.pipeline("cron", 0), DAY * days).await;
    let error = check(7).await.unwrap_err();
    assert_eq!(error.render(), "shop was never deployed\n");

    shop.pipeline("ann@web1 (pid 7)", 9).deploy(Release::new("1.4.0").unwrap()).await.unwrap();
    let error = check(7).await.unwrap_err();
    assert_eq!(error.render(), "shop: 1.4.0 was deployed 9 d ago, by ann@web1 (pid 7)\n");
    assert_eq!(format!("{:?}", exit_code(Err(error))), format!("{:?}", ExitCode::from(1)));
    check(10).await.unwrap();
}

#[tokio::test]
async fn the_history_shows_what_matches_the_last_first_for_people_and_for_programs() {
    let shop = Shop::new();
    shop.pipeline("ann@web1 (pid 7)", 30).deploy(Release::new("1.0").unwrap()).await.unwrap();
    shop.pipeline("bob@web1 (pid 8)", 9).deploy(Release::new("1.1").unwrap()).await.unwrap();
    shop.faults.on("runtime.start", Fault::Fail);
    shop.pipeline("ann@web2 (pid 9)", 2).deploy(Release::new("1.2").unwrap()).await.unwrap_err();
    let lines = async |words: &[&str]| history(&shop.pipeline("me", 0), wanted(words)).await.unwrap();
    let versions = async |words: &[&str]| -> Vec<String> {
        let words: Vec<_> = words.iter().chain(&["--json"]).copied().collect();
        let lines = lines(&words).await;
        let entries = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        entries.map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(versions(&[]).await, ["1.2", "1.1", "1.0"]);
    assert_eq!(versions(&["--by", "ann"]).await, ["1.2", "1.0"]);
    assert_eq!(versions(&["--outcome", "aborted"]).await, ["1.2"]);
    assert_eq!(versions(&["--version", "1.1"]).await, ["1.1"]);
    assert_eq!(versions(&["--since", "10d"]).await, ["1.2", "1.1"]);
    assert_eq!(versions(&["--since", "10d", "--by", "ann", "--outcome", "succeeded"]).await, [""; 0]);
    assert!(lines(&["--version", "1.0"]).await[0].contains("deploy 1.0 (blue): succeeded"));
    for bad in [["--outcome", "fine"], ["--since", "soon"]] {
        assert!(Arguments::try_parse_from(["history"].iter().chain(&bad)).is_err(), "{bad:?}");
    }
}
