//! Which Compose is called, and what is said when there is none.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bluegreen_core::{Effect, ErrorKind, Runtime, Slot};

use crate::support::{NotingHost, Shop, WAITS, needs_docker};

/// A folder for `PATH` with these programs of the machine, and nothing else but the usual tools.
fn tools(folder: &Path, programs: &[(&str, &str)]) -> String {
    std::fs::create_dir_all(folder).unwrap();
    for tool in [
        "sh",
        "head",
        "cat",
        "mkdir",
        "printf",
        "env",
        "python3",
        "flock",
        "sha256sum",
        "cut",
        "ln",
        "mv",
        "rm",
        "sync",
    ] {
        for place in ["/usr/bin", "/bin"] {
            let program = Path::new(place).join(tool);
            if program.exists() {
                let _ = symlink(program, folder.join(tool));
            }
        }
    }
    for (name, program) in programs {
        match program.strip_prefix("#!") {
            None => symlink(program, folder.join(name)).unwrap(),
            Some(_) => {
                std::fs::write(folder.join(name), program).unwrap();
                std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
    }
    folder.to_str().unwrap().to_owned()
}

fn shop() -> Shop {
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
    shop.publish("app:1.0", WAITS);
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_plugin_the_old_program_is_used() {
    needs_docker!();
    let shop = shop();
    let path = tools(&shop.path("tools"), &[("docker-compose", "/usr/bin/docker-compose")]);
    let host = NotingHost::default().with("PATH", &path);
    let runtime = shop.builder().host(host.clone()).endpoint("http", "api", 3000).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    assert!(runtime.start(&target).await.unwrap().endpoint(Some("http")).is_some());
    let calls = host.noted();
    assert!(calls.iter().any(|call| call.contains(" docker-compose -p ") && call.contains(" up -d ")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_compose_or_with_one_that_is_too_old_it_says_what_to_install() {
    needs_docker!();
    let shop = shop();
    let old = "#!/bin/sh\necho 1.21.0\n";
    let cases = [(vec![], ErrorKind::NotFound), (vec![("docker-compose", old)], ErrorKind::Unsupported)];
    for (number, (programs, kind)) in cases.into_iter().enumerate() {
        let path = tools(&shop.path(&format!("tools{number}")), &programs);
        let host = NotingHost::default().with("PATH", &path);
        let runtime = shop.builder().host(host).build().unwrap();
        let error = runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, Effect::NotApplied), "{error:?}");
        assert!(error.to_string().contains("install Compose"), "{error}");
        // What is there can be seen and stopped all the same.
        runtime.inspect(Slot::Green).await.unwrap();
        runtime.stop(Slot::Green, std::time::Duration::ZERO).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn override_files_are_laid_over_the_compose_file_in_their_order() {
    needs_docker!();
    let shop = shop();
    shop.write("one.yaml", "services: {api: {environment: {A: one, B: one}}}");
    shop.write("two.yaml", "services: {api: {environment: {B: two}}}");
    let file = |name: &str| shop.path(name).to_str().unwrap().to_owned();
    let runtime = shop.builder().override_file(file("one.yaml")).override_file(file("two.yaml")).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    let id = shop.container(Slot::Green, "api");
    let environment = crate::support::docker_ok(&["inspect", "--format", "{{.Config.Env}}", &id]);
    assert!(environment.contains("A=one") && environment.contains("B=two"), "{environment}");
}

#[test]
fn what_compose_could_misread_is_refused() {
    use bluegreen_core::Secret;
    use bluegreen_docker::ComposeRuntime;
    let builder = || ComposeRuntime::builder("shop", "compose.yaml");
    let refused = [
        ComposeRuntime::builder("Shop", "compose.yaml"),
        ComposeRuntime::builder("shop", "-"),
        ComposeRuntime::builder("shop", ""),
        builder().project("a.b"),
        builder().override_file("-f"),
        builder().env("A B", Secret::new("")),
        builder().env("VERSION", Secret::new("")),
        builder().endpoint("http", "api", 1).endpoint("http", "web", 2),
        builder().compose_program(Vec::<String>::new()),
    ];
    for builder in refused {
        let shown = format!("{builder:?}");
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Config, "{shown}");
    }
    assert!(ComposeRuntime::builder("Shop", "compose.yaml").project("shop").build().is_ok());
}
