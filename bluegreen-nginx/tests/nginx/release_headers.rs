//! The headers that name the slot and the version which answered.

use bluegreen_core::{Endpoint, Instance, LocalHost, Router, SLOT_HEADER, Slot, Split, VERSION_HEADER, Version};
use bluegreen_nginx::{NginxConfig, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::App;

use crate::setup::{BLUE, GREEN, Setup, flags, links, share};

fn release(app: &App, version: &str) -> Instance {
    Instance::Running { version: Some(Version::new(version).unwrap()), endpoints: vec![Endpoint::http(app.address())] }
}

/// What the headers of an answer say, and what answered.
async fn seen<R: Router>(setup: &Setup<R>) -> (String, String, String) {
    let answer = setup.get().await;
    assert_eq!(answer.headers.get_all(VERSION_HEADER).iter().count(), 1, "the app's own is hidden: {answer:?}");
    let header = |name| answer.header(name).unwrap().to_owned();
    (header(SLOT_HEADER), header(VERSION_HEADER), answer.body)
}

async fn each_answer_names_its_release<R: Router>(setup: &Setup<R>, splits: &[Split]) {
    setup.router.attach(Slot::Blue, &release(&setup.blue, "1.4.0+build.7")).await.unwrap();
    setup.router.attach(Slot::Green, &release(&setup.green, "1.5.0")).await.unwrap();
    let mut now = setup.router.current().await.unwrap();
    for split in splits {
        setup.router.shift(now, *split).await.unwrap();
        now = Some(*split);
        for _ in 0..20 {
            let (slot, version, body) = seen(setup).await;
            assert_eq!(slot, body);
            assert_eq!(version, if body == "blue" { "1.4.0+build.7" } else { "1.5.0" });
        }
    }
    // The next release at the same address is another version.
    setup.router.attach(Slot::Green, &release(&setup.green, "1.6.0")).await.unwrap();
    assert_eq!(seen(setup).await, ("green".to_owned(), "1.6.0".to_owned(), "green".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_names_the_release_that_gave_it() {
    let with = |config: NginxConfig| config.release_headers(true);
    let Some(setup) = flags(TestNginx::start(), with).await else { return };
    each_answer_names_its_release(&setup, &[BLUE, share(50), GREEN]).await;
    let Some(setup) = links(TestNginx::start(), with).await else { return };
    each_answer_names_its_release(&setup, &[BLUE, GREEN]).await;
}

#[test]
fn headers_that_could_name_the_wrong_release_are_refused() {
    let config = || NginxConfig::new("shop").server_name("shop.test").release_headers(true).backup(true);
    for error in [
        NginxRouter::new(LocalHost::new(), config()).unwrap_err(),
        NginxSymlinkRouter::new(LocalHost::new(), config()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("the other slot may have answered"), "{error}");
    }
}
