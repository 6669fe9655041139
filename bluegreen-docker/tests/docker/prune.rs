//! `prune` removes what is ours, and nothing else.

use bluegreen_core::{Runtime, Slot};

use crate::support::{Shop, WAITS, docker, docker_ok, grace, needs_docker};

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
