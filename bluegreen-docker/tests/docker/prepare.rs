//! What `prepare` promises.

use std::sync::{Arc, Mutex};

use bluegreen_core::{Effect, ErrorKind, Progress, Runtime, Slot};

use crate::support::{NotingHost, Shop, WAITS, docker, docker_ok, grace, needs_docker, unique};

const ONE: &str = "
services:
  api:
    image: IMAGES/app:${VERSION}
";

fn shop() -> Shop {
    let shop = Shop::new(ONE);
    shop.publish("app:1.0", WAITS);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_told_before_anything_is_changed() {
    needs_docker!();
    let shop = shop();
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "2.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error:?}");
    assert!(error.to_string().contains("app:2.0"), "{error}");
    assert_eq!(shop.images.on_engine(), Vec::<String>::new());
    assert_eq!(recorded(&shop), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_missing_image_of_several_is_told_and_nothing_is_recorded() {
    needs_docker!();
    let shop = shop();
    shop.write("compose.yaml", "services: {api: {image: 'IMAGES/app:1.0'}, web: {image: 'IMAGES/web:1.0'}}");
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("web:1.0"), "{error}");
    assert_eq!(recorded(&shop), 0);
}

/// How many releases are on record.
fn recorded(shop: &Shop) -> usize {
    let text = std::fs::read(shop.path(".bluegreen").join(&shop.name).join("releases.json")).unwrap_or(b"{}".to_vec());
    let records: serde_json::Value = serde_json::from_slice(&text).unwrap();
    records["releases"].as_object().map_or(0, |releases| releases.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_name_that_two_slots_cannot_have_is_told_before_anything_is_changed() {
    needs_docker!();
    let name = unique("name");
    for (program, named) in [(&["docker", "compose"][..], &name), (&["docker-compose"][..], &format!("{name}-v1"))] {
        let shop = shop();
        let file = |named: &str| {
            shop.write("compose.yaml", &format!("{ONE}    container_name: {named}\n"));
        };
        file(named);
        let runtime = shop.builder().compose_program(program.iter().copied()).as_written(true).build().unwrap();
        let error = runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(named) && text.contains("services.api.container_name"), "{text}");
        assert!(text.contains("-${SLOT}"), "{text}");

        file(&format!("{named}-${{SLOT}}"));
        runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
        runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
        assert_eq!(
            docker_ok(&["inspect", "--format", "{{.Name}}", &shop.container(Slot::Green, "api")]),
            format!("/{named}-green")
        );
        // One that somebody else has is told too.
        docker_ok(&["create", "--name", &format!("{named}-blue"), &shop.images.name("app:1.0")]);
        let error = runtime.prepare(&shop.version(Slot::Blue, "1.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error:?}");
        assert!(error.to_string().contains(&format!("{named}-blue")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_is_told_before_anything_is_changed() {
    needs_docker!();
    let mut shop = shop();
    shop.registry.end();
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error:?}");
    assert!(error.is_retryable() && error.to_string().contains("is the registry up"), "{error}");
    assert_eq!(shop.images.on_engine(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_on_another_host_are_known_to_a_deploy_from_a_fresh_checkout() {
    needs_docker!();
    let shop = shop();
    let (server, target) = (tempfile::tempdir().unwrap(), shop.version(Slot::Green, "1.0"));
    let path = server.path().join("shop").to_str().unwrap().to_owned();
    let runtime = || shop.builder().records_on(NotingHost::default(), &path).build().unwrap();
    runtime().prepare(&target).await.unwrap();
    runtime().start(&target).await.unwrap();
    runtime().stop(Slot::Green, grace()).await.unwrap();

    std::fs::remove_dir_all(shop.path(".bluegreen")).unwrap();
    assert_eq!(runtime().logs(Slot::Green, 1).await.unwrap(), ["api | and waits"]);
    shop.publish("app:1.0", &format!("{WAITS} # other"));
    let error = runtime().prepare(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(runtime().prune(0).await.unwrap().versions.len(), 1);
    assert_eq!(shop.images.on_engine(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_is_prepared_again_without_its_registry() {
    needs_docker!();
    let mut shop = shop();
    shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    shop.registry.end();
    shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    shop.runtime().start(&shop.version(Slot::Green, "1.0")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_is_started_without_its_registry_also_where_the_file_wants_it_pulled_each_time() {
    needs_docker!();
    for program in [&["docker", "compose"][..], &["docker-compose"][..]] {
        let mut shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}', pull_policy: always}}");
        shop.publish("app:1.0", WAITS);
        let runtime = shop.builder().compose_program(program.iter().copied()).build().unwrap();
        runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
        shop.registry.end();
        runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    }
}

/// The user `me`, with the password `hunter2`.
const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.";

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_is_told_and_the_stored_password_opens_it() {
    needs_docker!();
    let mut shop = shop();
    shop.registry.end();
    let file = shop.registry.folder().join("htpasswd");
    std::fs::write(&file, HTPASSWD).unwrap();
    assert!(shop.registry.resume_with(&format!("auth: {{htpasswd: {{realm: shop, path: {}}}}}", file.display())));
    let with_config = |config: String| {
        std::fs::write(shop.path("config.json"), config).unwrap();
        let folder = shop.path("");
        let host = NotingHost::default().with("DOCKER_CONFIG", folder.to_str().unwrap());
        // The plugin is looked for in the client's folder too.
        (shop.builder().host(host.clone()).build().unwrap(), host)
    };
    let target = shop.version(Slot::Green, "1.0");
    let (stranger, _) = with_config("{}".to_owned());
    let error = stranger.prepare(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error:?}");

    let auth = |password: &str| {
        let encoded = base64(&format!("me:{password}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{encoded}"}}}}}}"#, shop.registry.address())
    };
    let (wrong, _) = with_config(auth("wrong"));
    let error = wrong.prepare(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");

    let (known, host) = with_config(auth("hunter2"));
    known.prepare(&target).await.unwrap();
    let noted = host.noted().join("\n");
    assert!(!noted.contains("hunter2") && !noted.contains(&base64("me:hunter2")), "{noted}");
}

fn base64(text: &str) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("base64")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tag_with_other_content_is_a_conflict_and_no_tag_is_moved() {
    needs_docker!();
    let shop = shop();
    let target = shop.version(Slot::Green, "1.0");
    shop.runtime().prepare(&target).await.unwrap();
    let name = shop.images.name("app:1.0");
    let id = || docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]);
    let before = id();
    docker_ok(&["rmi", &name]);
    shop.publish("app:1.0", &format!("{WAITS} # other"));
    docker_ok(&["pull", "-q", &name]);
    let moved = id();
    assert_ne!(moved, before, "the test makes other content");

    for slot in Slot::BOTH {
        let error = shop.runtime().prepare(&shop.version(slot, "1.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error:?}");
        assert!(error.to_string().contains("sha256:"), "{error}");
    }
    assert_eq!(id(), moved);

    let accepting = shop.builder().accept_changed_content(true).build().unwrap();
    accepting.prepare(&target).await.unwrap();
    accepting.start(&target).await.unwrap();
    let image = docker_ok(&["inspect", "--format", "{{.Image}}", &shop.container(Slot::Green, "api")]);
    assert_eq!(image, moved);
    // From now on, that is its content.
    shop.runtime().prepare(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tag_is_told_before_anything_is_pulled() {
    needs_docker!();
    let shop = shop();
    shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let name = shop.images.name("app:1.0");
    let id = || docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]);
    let before = id();
    // Pushed from elsewhere: the name on this engine stays what it was.
    shop.images.make("app:other", &format!("{WAITS} # other"));
    docker_ok(&["tag", &name, &shop.images.name("app:mine")]);
    docker_ok(&["tag", &shop.images.name("app:other"), &name]);
    docker_ok(&["push", "-q", &name]);
    docker_ok(&["tag", &shop.images.name("app:mine"), &name]);
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(id(), before, "the tag was moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_runs_what_was_prepared_wherever_the_tag_points_by_then() {
    needs_docker!();
    let shop = shop();
    let (target, name) = (shop.version(Slot::Green, "1.0"), shop.images.name("app:1.0"));
    shop.runtime().prepare(&target).await.unwrap();
    let prepared = docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]);
    shop.images.make("app:1.0", "echo wrong");
    shop.runtime().start(&target).await.unwrap();
    let image = docker_ok(&["inspect", "--format", "{{.Image}}", &shop.container(Slot::Green, "api")]);
    assert_eq!(image, prepared);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_only_on_the_engine_is_used_where_the_compose_file_says_so() {
    needs_docker!();
    for program in [&["docker", "compose"][..], &["docker-compose"][..]] {
        let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0', pull_policy: never}}");
        let runtime = shop.builder().compose_program(program.iter().copied()).build().unwrap();
        let target = shop.version(Slot::Green, "1.0");
        let error = runtime.prepare(&target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        shop.images.make("app:1.0", WAITS);
        if program.len() == 1 {
            // Compose v1 does not pass a pull policy on.
            docker_ok(&["push", "-q", &shop.images.name("app:1.0")]);
        }
        runtime.prepare(&target).await.unwrap();
        runtime.start(&target).await.unwrap();
        assert_eq!(shop.running(Slot::Green).len(), 1);
        shop.images.make("app:1.0", "echo other");
        let error = runtime.prepare(&target).await.unwrap_err();
        if program.len() == 2 {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_layer_tells_how_much_of_it_is_through() {
    needs_docker!();
    let shop = shop();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let mut target = shop.version(Slot::Green, "1.0");
    target.progress = Progress::new(move |what, done, total| sink.lock().unwrap().push((what.to_owned(), done, total)));
    shop.runtime().prepare(&target).await.unwrap();
    let seen = seen.lock().unwrap();
    let (what, done, total) = seen.last().expect("no progress at all");
    assert!(what.contains("app:1.0 layer "), "{what}");
    assert!(*done > 0 && total.is_some_and(|total| total >= *done), "{done} of {total:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_stops_the_deploy() {
    needs_docker!();
    let shop = shop();
    let (runtime, target) = (shop.runtime(), shop.version(Slot::Green, "1.0"));
    runtime.prepare(&target).await.unwrap();
    let file = shop.path(".bluegreen").join(&shop.name).join("releases.json");
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let error = runtime.prepare(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::NotApplied), "{error:?}");
    assert!(error.to_string().contains("releases.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_not_prepared_is_not_started() {
    needs_docker!();
    let shop = shop();
    docker(&["pull", "-q", &shop.images.name("app:1.0")]);
    let error = shop.runtime().start(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error:?}");
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compose_file_that_makes_no_sense_is_told_and_nothing_is_changed() {
    needs_docker!();
    let shop = shop();
    let cases = [
        ("services: {api: {image: 'IMAGES/app:${NEEDED:?no such variable}'}}", "no such variable"),
        ("services: {api: {imagee: x}}", "imagee"),
        ("services: {api: {build: .}}", "Dockerfile"),
        ("services: {api: {image: 'IMAGES/app:a b'}}", "app:a b"),
    ];
    for (text, named) in cases {
        shop.write("compose.yaml", text);
        for program in [&["docker", "compose"][..], &["docker-compose"][..]] {
            let runtime = shop.builder().compose_program(program.iter().copied()).build().unwrap();
            let error = runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
            assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
            assert!(error.chain().contains(named), "{program:?}: {error:?}");
        }
    }
    std::fs::remove_file(shop.path("compose.yaml")).unwrap();
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert!(error.chain().contains("compose.yaml"), "{error:?}");
    let _ = shop.runtime().stop(Slot::Green, grace()).await;
}
