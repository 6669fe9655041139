//! Releases that are no good: nobody in front of the server notices.

use bluegreen_core::{ErrorKind, Slot};

use crate::parts::{Images, parts_are_here, turn};
use crate::server::{Server, ending, none_failed};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_found_out_before_it_has_traffic_with_the_reason_and_a_good_one_follows() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients(200);
    let live = server.containers(Slot::Blue);
    let cases: [(&str, &str, &[&str]); 3] = [
        ("9.0.0", "unhealthy", &["api: its healthcheck fails", "cannot reach the database", "9.0.0 listens on port"]),
        ("9.0.1", "crash", &["worker", "exit status 3", "the queue speaks another protocol"]),
        ("9.0.2", "leak", &["worker", "exit status 137", "out of memory"]),
    ];
    for (version, bug, told) in cases {
        let (word, error) = ending(server.deploy_by(&server.pipeline(), version, bug).await);
        assert_eq!((word, error.kind()), ("aborted", ErrorKind::Unhealthy), "{bug}: {}", error.chain());
        for part in told {
            assert!(error.chain().contains(part), "{bug}: {part} in {}", error.chain());
        }
        assert!(!error.report().unwrap().logs.is_empty(), "{bug}: {}", error.report().unwrap());
        // What did not come up is gone, restart policy or not, and the live slot was not touched.
        assert_eq!(server.containers(Slot::Green), Vec::<String>::new(), "{bug}");
        assert_eq!(server.containers(Slot::Blue), live, "{bug}");
        server.is_settled_on("1.0.0").await;
    }
    server.deploy("1.1.0").await.unwrap();
    server.is_settled_on("1.1.0").await;
    let seen = none_failed(clients).await;
    assert_eq!(seen.answered.keys().collect::<Vec<_>>(), ["1.0.0", "1.1.0"], "no user has seen a bad release");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing_and_a_registry_that_is_down_end_the_deploy_before_anything_is_changed() {
    if !parts_are_here() {
        return;
    }
    // Nobody else's registry goes down.
    let server = Server::with(Images::new(), turn().await);
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let clients = server.clients(200);
    let kept = server.containers(Slot::Blue);

    let (word, missing) = ending(server.pipeline().deploy(server.shop.release("7.7.7").unwrap()).await);
    assert_eq!((word, missing.kind()), ("aborted", ErrorKind::NotFound), "{}", missing.chain());
    assert!(missing.chain().contains(&format!("{}:7.7.7", server.shop.image)), "{}", missing.chain());
    assert_eq!(server.containers(Slot::Blue), kept, "the way back is still there");

    server.images.publish("1.2.0", "none").await;
    server.images.registry.lock().unwrap().end();
    let (word, down) = ending(server.pipeline().deploy(server.shop.release("1.3.0").unwrap()).await);
    assert_eq!((word, down.kind()), ("aborted", ErrorKind::Unreachable), "{}", down.chain());
    assert_eq!(server.containers(Slot::Blue), kept, "the way back is still there");
    server.is_settled_on("1.1.0").await;
    // The way back needs no registry.
    server.pipeline().rollback().await.unwrap();
    server.is_settled_on("1.0.0").await;

    server.images.registry.lock().unwrap().resume().unwrap();
    server.deploy("1.2.0").await.unwrap();
    server.is_settled_on("1.2.0").await;
    none_failed(clients).await;
}
