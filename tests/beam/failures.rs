//! Releases that are no good: nobody in front of the server notices.

use std::time::Duration;

use bluegreen_core::{ErrorKind, Release};
use bluegreen_testkit::beam::release;

use crate::setup::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_found_out_before_it_has_traffic_and_a_good_one_follows() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients();

    let error = server.pipeline().deploy(server.release("2.0.0", "crash-at-boot")).await.unwrap_err();
    let told = error.chain();
    assert!(told.contains("start"), "{told}");
    assert!(error.report().unwrap().logs.iter().any(|line| line.contains("crash")) || told.contains("crash"), "{told}");
    server.is_settled_on("1.0.0").await;

    let impatient = server.builder().start_deadline(Duration::from_secs(5)).build().unwrap();
    let error = impatient.deploy(server.release("2.0.1", "unhealthy")).await.unwrap_err();
    assert!(error.chain().contains("not healthy within 5s") && error.chain().contains("503"), "{}", error.chain());
    server.is_settled_on("1.0.0").await;

    let error = server.pipeline().deploy(server.release("2.0.2", "migration-fails")).await.unwrap_err();
    assert!(error.chain().contains("this migration fails"), "{}", error.chain());
    server.is_settled_on("1.0.0").await;

    // It runs, and is not what it was deployed as.
    let mislabelled = Release::new("2.0.3").unwrap().with_artifact(release("9.9.9", ""));
    let error = impatient.deploy(mislabelled).await.unwrap_err();
    assert!(error.chain().contains("9.9.9"), "{}", error.chain());
    server.is_settled_on("1.0.0").await;

    server.deploy("2.1.0").await.unwrap();
    server.is_settled_on("2.1.0").await;
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
    assert_eq!(seen.answered.keys().collect::<Vec<_>>(), ["1.0.0", "2.1.0"], "no user has seen a bad release");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_version_with_other_content_and_a_tarball_that_was_cut_off_are_refused() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients();
    server.pipeline().stage(server.release("2.0.0", "")).await.unwrap();
    server.pipeline().retire_now().await.unwrap();

    let other = Release::new("2.0.0").unwrap().with_artifact(release("2.0.0", "unhealthy"));
    let error = server.pipeline().deploy(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.chain());
    server.is_settled_on("1.0.0").await;

    let whole = std::fs::read(release("3.0.0", "")).unwrap();
    let short = server.path("short.tar.gz");
    std::fs::write(&short, &whole[..whole.len() / 2]).unwrap();
    let error = server.pipeline().deploy(Release::new("3.0.0").unwrap().with_artifact(short)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.chain());
    server.is_settled_on("1.0.0").await;

    server.deploy("3.0.0").await.unwrap();
    server.is_settled_on("3.0.0").await;
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}
