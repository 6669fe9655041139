//! Which engine is used, and what is said when it is not there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bluegreen_core::{Effect, ErrorKind, Runtime, Slot};
use bluegreen_docker::Engine;

use crate::support::{NotingHost, Shop, WAITS, grace, needs_docker};

pub(crate) fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// A socket that leads to the engine's, as a tunnel's does; counts the connections.
fn forward(socket: &Path) -> Arc<AtomicUsize> {
    let (listener, count) = (tokio::net::UnixListener::bind(socket).unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut engine = tokio::net::UnixStream::connect(engine_socket()).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_a_tunnel_is_the_one_that_compose_uses_too() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let socket = shop.path("tunnel.sock");
    let count = forward(&socket);
    // On the far machine, the engine listens elsewhere than on this one.
    let far = NotingHost::default().tunnelling_to(&socket);
    let runtime = shop.builder().engine(Engine::on(far).at("unix:///far/docker.sock")).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    let by_us = count.load(Ordering::SeqCst);
    assert!(by_us > 0);
    runtime.start(&target).await.unwrap();
    assert_eq!(shop.running(Slot::Green).len(), 1);
    runtime.stop(Slot::Green, grace()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_deployed_to_through_its_host_alone() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let socket = shop.path("tunnel.sock");
    let count = forward(&socket);
    let server =
        NotingHost::default().tunnelling_to(&socket).with("DOCKER_HOST", &format!("unix://{}", engine_socket()));
    let runtime = shop.builder().host(server.clone()).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    assert!(count.load(Ordering::SeqCst) > 0);
    assert!(server.noted().iter().any(|command| command.contains(" up -d ")));
    runtime.stop(Slot::Green, grace()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_told_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let engine = Engine::local().at(format!("unix://{}", socket.display()));
    let missing = engine.ping().await.unwrap_err();
    assert_eq!((missing.kind(), missing.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{missing:?}");
    assert!(missing.to_string().contains("is the engine running"), "{missing}");
    // A socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let engine = Engine::local().at(format!("unix://{}", socket.display()));
    let dead = engine.ping().await.unwrap_err();
    assert_eq!((dead.kind(), dead.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{dead:?}");
    let ssh = Engine::local().at("ssh://far").ping().await.unwrap_err();
    assert_eq!(ssh.kind(), ErrorKind::Unsupported, "{ssh:?}");
    let nonsense = Engine::local().at("far").ping().await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::Config, "{nonsense:?}");
}
