//! Which engine is used, and what is said when it is not there.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bluegreen_core::{Command, Effect, Error, ErrorKind, Host, Progress, Runtime, Slot};
use bluegreen_docker::{Engine, ImageBuild};

use crate::support::{Fate, NotingHost, Shop, WAITS, engine_socket, eventually, grace, needs_docker, proxy};

/// A socket that leads to the engine's, as a tunnel's does; counts the requests.
fn forward(socket: &Path) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    proxy(socket, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Fate::Passes
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
    let runtime = shop.builder().engine(Engine::on(far).address("unix:///far/docker.sock")).build().unwrap();
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
async fn an_engine_that_docker_host_names_by_ssh_is_that_of_the_server_for_us_and_for_compose() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let socket = shop.path("tunnel.sock");
    let count = forward(&socket);
    let far = NotingHost::default().tunnelling_to(&socket).with("DOCKER_HOST", "unix:///far/docker.sock");
    let here = NotingHost::default().with("DOCKER_HOST", "ssh://deploy@far:2222");
    let (asked, reached) = (Arc::new(Mutex::new(Vec::new())), far.clone());
    let servers = Arc::clone(&asked);
    let engine = Engine::on(here).over_ssh(move |server| {
        servers.lock().unwrap().push(server.to_owned());
        Ok(reached.clone())
    });
    // Were Compose not told, it would look there.
    let nowhere = NotingHost::default().with("DOCKER_HOST", "unix:///nowhere.sock");
    let runtime = shop.builder().host(nowhere).engine(engine.clone()).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    assert_eq!(shop.running(Slot::Green).len(), 1);
    assert!(count.load(Ordering::SeqCst) > 0);
    runtime.stop(Slot::Green, grace()).await.unwrap();

    engine.server().await.unwrap().run(&Command::new("true").arg("asked of the server")).await.unwrap();
    assert!(far.noted().iter().any(|command| command.contains("asked of the server")), "{:?}", far.noted());
    assert_eq!(*asked.lock().unwrap(), ["deploy@far:2222"], "one connection, whatever is done");
}

#[tokio::test]
async fn a_server_whose_engine_is_yet_elsewhere_or_that_cannot_be_reached_is_told() {
    let far = NotingHost::default().with("DOCKER_HOST", "ssh://farther");
    let twice = Engine::local().address("ssh://far").over_ssh(move |_| Ok(far.clone()));
    let error = twice.ping().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied), "{error:?}");
    assert!(error.to_string().contains("ssh://farther"), "{error}");

    let refused = |_: &str| Err::<NotingHost, _>(Error::new(ErrorKind::Unauthorized, "the host key has changed"));
    let error = Engine::local().address("ssh://far").over_ssh(refused).ping().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error:?}");

    let nobody = Engine::local().address("ssh://far").ping().await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unsupported, "{nobody:?}");
    assert!(nobody.to_string().contains("over_ssh"), "{nobody}");
}

/// One thread, whose clock can be made to pass.
#[tokio::test]
async fn an_engine_that_falls_silent_is_not_waited_for_without_end() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let (folder, image) = (tempfile::tempdir().unwrap(), shop.images.name("app:1.0"));
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {image}\nLABEL {}\n", shop.images.mark())).unwrap();
    for what in ["/images/create?", "/push?", "/build?", "/logs?"] {
        let (socket, silent) = (folder.path().join(format!("{}.sock", &what[1..4])), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&silent);
        proxy(&socket, move |line| {
            let stalls = line.contains(what);
            seen.fetch_add(usize::from(stalls), Ordering::SeqCst);
            if stalls { Fate::Unanswered } else { Fate::Passes }
        });
        let address = format!("unix://{}", socket.display());
        let engine = Engine::local().address(&address);
        let (image, context) = (image.clone(), folder.path().to_owned());
        let runtime = shop.builder().docker_host(address).build().unwrap();
        let asking = tokio::spawn(async move {
            let progress = Progress::none();
            match what {
                "/images/create?" => engine.pull(&image, &progress).await.map(drop),
                "/push?" => engine.push(&image, &progress).await.map(drop),
                "/build?" => ImageBuild::new(context).engine(engine).run(&progress).await.map(drop),
                _ => runtime.logs(Slot::Green, 5).await.map(drop),
            }
        });
        eventually("it is asked", async || silent.load(Ordering::SeqCst) > 0).await;
        tokio::time::pause();
        let error = tokio::time::timeout(std::time::Duration::from_secs(24 * 60 * 60), asking).await;
        tokio::time::resume();
        let error = error.expect("it waits without end").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{what} {error:?}");
        assert!(error.to_string().contains("has said nothing for"), "{what} {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_told_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let engine = Engine::local().address(format!("unix://{}", socket.display()));
    let missing = engine.ping().await.unwrap_err();
    assert_eq!((missing.kind(), missing.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{missing:?}");
    assert!(missing.to_string().contains("is the engine running"), "{missing}");
    // A socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let engine = Engine::local().address(format!("unix://{}", socket.display()));
    let dead = engine.ping().await.unwrap_err();
    assert_eq!((dead.kind(), dead.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{dead:?}");
    let nonsense = Engine::local().address("far").ping().await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::Config, "{nonsense:?}");
}
