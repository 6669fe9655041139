//! `prune` removes what is ours, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bluegreen_core::{ErrorKind, Runtime, Slot};
use futures::future::try_join_all;

use crate::support::{Fate, Shop, WAITS, docker, docker_ok, grace, needs_docker, proxy};

#[tokio::test(flavor = "multi_thread")]
async fn only_images_of_old_releases_that_nothing_uses_are_removed() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}, base: {image: 'IMAGES/base:1'}}");
    for image in ["app:1.0", "app:1.1", "app:1.2", "app:1.3", "app:1.4", "app:mine", "base:1"] {
        shop.publish(image, &format!("{WAITS} # {image}"));
    }
    let runtime = shop.runtime();
    // One that was there before us is not ours.
    docker_ok(&["pull", "-q", &shop.images.name("app:1.2")]);
    docker_ok(&["pull", "-q", &shop.images.name("app:mine")]);
    for version in ["1.0", "1.1", "1.2", "1.3", "1.4"] {
        runtime.prepare(&shop.version(Slot::Green, version)).await.unwrap();
    }
    // The oldest runs, and someone uses the next one.
    runtime.start(&shop.version(Slot::Blue, "1.0")).await.unwrap();
    let before = shop.running(Slot::Blue);
    let foreign = docker_ok(&["create", &shop.images.name("app:1.1")]);

    let pruned = runtime.prune(1).await.unwrap();
    let versions: Vec<_> = pruned.versions.iter().map(|version| version.as_str()).collect();
    assert_eq!(versions, ["1.2", "1.3"]);
    let left = shop.images.on_engine();
    let has = |image: &str| left.contains(&shop.images.name(image));
    for kept in ["app:1.0", "app:1.1", "app:1.2", "app:1.4", "app:mine", "base:1"] {
        assert!(has(kept), "{kept} is gone: {left:?}");
    }
    assert!(!has("app:1.3"), "{left:?}");
    assert!(!left.iter().any(|name| pruned.images.contains(name)), "{pruned:?} {left:?}");
    assert_eq!(shop.running(Slot::Blue), before);

    // Again: nothing to do. And when it is no longer used, it goes.
    assert_eq!(runtime.prune(1).await.unwrap(), Default::default());
    docker(&["rm", &foreign]);
    runtime.stop(Slot::Blue, grace()).await.unwrap();
    let versions: Vec<_> = runtime.prune(1).await.unwrap().versions.iter().map(ToString::to_string).collect();
    assert_eq!(versions, ["1.0", "1.1"]);

    // What was removed can be deployed again, and only as what it was.
    runtime.prepare(&shop.version(Slot::Green, "1.3")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.3")).await.unwrap();
    docker_ok(&["pull", "-q", &shop.images.name("app:1.0")]);
    docker_ok(&["tag", &shop.images.name("app:mine"), &shop.images.name("app:1.0")]);
    docker_ok(&["push", "-q", &shop.images.name("app:1.0")]);
    assert!(runtime.prepare(&shop.version(Slot::Green, "1.0")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_came_by_a_prepare_that_failed_are_removed_too() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}, web: {image: 'IMAGES/web:${VERSION}'}}");
    for image in ["app:0.9", "app:1.0", "app:1.1", "web:1.1"] {
        shop.publish(image, &format!("{WAITS} # {image}"));
    }
    // What is missing is asked for only when the other one is here.
    let (socket, prefix) = (shop.path("engine.sock"), shop.images.prefix().to_owned());
    proxy(&socket, move |line| {
        let missing = ["0.9", "1.0"]
            .into_iter()
            .find(|version| line.contains("web&") && line.contains(&format!("tag={version}")));
        if let Some(version) = missing.filter(|_| line.starts_with("POST /images/create")) {
            let (name, deadline) = (format!("{prefix}/app:{version}"), Instant::now() + Duration::from_secs(120));
            let is_here = || docker(&["image", "inspect", &name]).status.success();
            tokio::task::block_in_place(|| {
                while !is_here() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        Fate::Passes
    });
    let through = shop.builder().docker_host(format!("unix://{}", socket.display())).build().unwrap();
    for version in ["0.9", "1.0"] {
        let error = through.prepare(&shop.version(Slot::Green, version)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(shop.images.on_engine().contains(&shop.images.name(&format!("app:{version}"))));
    }
    let runtime = shop.runtime();
    assert_eq!(runtime.prune(1).await.unwrap(), Default::default(), "they may be tried again");

    // One of them is, with success; the other one is given up.
    shop.publish("web:1.0", &format!("{WAITS} # web:1.0"));
    for version in ["1.0", "1.1"] {
        runtime.prepare(&shop.version(Slot::Green, version)).await.unwrap();
    }
    let mut versions: Vec<_> = runtime.prune(1).await.unwrap().versions.iter().map(ToString::to_string).collect();
    versions.sort();
    assert_eq!(versions, ["0.9", "1.0"]);
    let left = shop.images.on_engine();
    assert!(left.iter().all(|name| name.contains('@') || name.ends_with(":1.1")), "{left:?}");
    assert_eq!(left.len(), 4, "two images by tag and by digest: {left:?}");
    assert_eq!(runtime.prune(1).await.unwrap(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_while_old_images_are_removed_stays_recorded() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
    for version in ["1.0", "1.1", "1.2"] {
        shop.publish(&format!("app:{version}"), &format!("{WAITS} # {version}"));
    }
    let (runtime, socket) = (shop.runtime(), shop.path("engine.sock"));
    for version in ["1.0", "1.1"] {
        runtime.prepare(&shop.version(Slot::Green, version)).await.unwrap();
    }
    let (other, target, prepared) = (runtime.clone(), shop.version(Slot::Green, "1.2"), AtomicBool::new(false));
    proxy(&socket, move |line| {
        if line.starts_with("DELETE /images/") && !prepared.swap(true, Ordering::SeqCst) {
            let preparing = other.prepare(&target);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(preparing)).unwrap();
        }
        Fate::Passes
    });
    let through = shop.builder().docker_host(format!("unix://{}", socket.display())).build().unwrap();
    let pruned = through.prune(1).await.unwrap();
    assert_eq!(pruned.versions.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.0"]);
    runtime.start(&shop.version(Slot::Green, "1.2")).await.unwrap();
    // What was removed is recorded too.
    let error = runtime.start(&shop.version(Slot::Blue, "1.0")).await.unwrap_err();
    assert!(error.to_string().contains("not been prepared"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_prepared_at_the_same_time_are_all_recorded() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let targets: Vec<_> = (0..8).map(|number| shop.version(Slot::Green, &format!("1.{number}"))).collect();
    // As processes of their own do, they share nothing but the files.
    let runtimes: Vec<_> = targets.iter().map(|_| shop.runtime()).collect();
    try_join_all(runtimes.iter().zip(&targets).map(|(runtime, target)| runtime.prepare(target))).await.unwrap();
    let text = std::fs::read_to_string(shop.path(".bluegreen").join(&shop.name).join("releases.json")).unwrap();
    for target in &targets {
        assert!(text.contains(&format!("\"{}\"", target.version())), "{target} is missing: {text}");
    }
    let mode = std::fs::metadata(shop.path(".bluegreen").join(&shop.name).join("releases.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}
