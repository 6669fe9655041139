//! Compose files as people have them, in two slots.

use std::net::TcpListener;

use bluegreen_core::{Effect, ErrorKind, Runtime, Slot};
use bluegreen_docker::{ComposeRuntime, ComposeRuntimeBuilder};

use crate::support::{Shop, WAITS, docker, docker_ok, get, grace, needs_docker, serves, unique};

async fn up(runtime: &ComposeRuntime, shop: &Shop, slot: Slot, version: &str) {
    let target = shop.version(slot, version);
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
}

/// Why a release is refused, by a plan and by `prepare` alike. Nothing is changed.
async fn refusal(shop: &Shop, builder: ComposeRuntimeBuilder) -> String {
    let runtime = builder.build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    let planned = runtime.preview(&target).await.expect_err("a plan says that it is refused");
    let error = runtime.prepare(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error:?}");
    assert_eq!(planned.message(), error.message());
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_fixes_is_left_out_for_the_slots_and_each_finds_its_own_by_the_same_names() {
    needs_docker!();
    let (port, name) = (TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), unique("web"));
    let shop = Shop::new(&format!(
        "
services:
  web:
    image: IMAGES/web:${{VERSION}}
    container_name: {name}
    ports: ['{port}:3000', '0.0.0.0:{port}:53/udp']
    networks: {{back: {{ipv4_address: 10.213.7.5}}}}
  client:
    image: IMAGES/client:1
    networks: [back]
networks:
  back: {{ipam: {{config: [{{subnet: 10.213.7.0/24}}]}}}}
"
    ));
    let before = std::fs::read(shop.path("compose.yaml")).unwrap();
    for version in ["1.0", "2.0"] {
        shop.publish(&format!("web:{version}"), &serves(&format!("this-is-{version}")));
    }
    shop.publish("client:1", WAITS);
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    let told = runtime.preview(&shop.version(Slot::Blue, "1.0")).await.unwrap();
    let told = told.changes.unwrap();
    for line in [
        &format!("- services.web.container_name: {name}"),
        "- services.web.networks.back.ipv4_address: 10.213.7.5",
        &format!("- services.web.ports: {port}:3000, 0.0.0.0:{port}:53/udp"),
        "+ services.web.ports: 127.0.0.1:",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }

    for (slot, version) in Slot::BOTH.into_iter().zip(["1.0", "2.0"]) {
        up(&runtime, &shop, slot, version).await;
    }
    for (slot, version) in Slot::BOTH.into_iter().zip(["1.0", "2.0"]) {
        let found = runtime.inspect(slot).await.unwrap();
        assert!(get(&found.endpoint(Some("http")).unwrap().address).contains(&format!("this-is-{version}")));
        let client = shop.container(slot, "client");
        for called in ["web", &name] {
            let page = docker_ok(&["exec", &client, "wget", "-q", "-O-", &format!("http://{called}:3000/")]);
            assert_eq!(page, format!("this-is-{version}"), "{slot} calls {called}");
        }
    }
    assert!(TcpListener::bind(("0.0.0.0", port)).is_ok(), "the port of the file is taken");
    assert_eq!(std::fs::read(shop.path("compose.yaml")).unwrap(), before, "the user's file was changed");
    // A slot that is deployed to again keeps its address.
    let address = runtime.inspect(Slot::Blue).await.unwrap().endpoint(None).unwrap().address.clone();
    runtime.stop(Slot::Blue, grace()).await.unwrap();
    up(&runtime, &shop, Slot::Blue, "1.0").await;
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap().endpoint(None).unwrap().address, address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_both_slots_is_refused_until_each_is_called_by_a_name_of_its_own() {
    needs_docker!();
    let network = unique("net");
    let compose = |alias: &str, url: &str| {
        format!(
            "
services:
  web: {{image: 'IMAGES/app:${{VERSION}}', environment: {{API: '{url}'}}, networks: {{far: {{aliases: ['web-${{SLOT}}']}}}}}}
  api: {{image: 'IMAGES/app:${{VERSION}}', networks: {{far: {alias}}}}}
networks: {{far: {{name: {network}, external: true}}}}
"
        )
    };
    let shop = Shop::new(&compose("{}", "http://api:3000"));
    docker_ok(&["network", "create", &network]);
    let _removed = Network(network.clone());
    for version in ["1.0", "2.0"] {
        shop.publish(&format!("app:{version}"), &serves(&format!("this-is-{version}")));
    }
    let told = refusal(&shop, shop.builder()).await;
    assert!(
        told.contains("services.api.networks: far is external") && told.contains("{aliases: [api-${SLOT}]}"),
        "{told}"
    );
    // The name that only its slot has is of no use to who calls the other one.
    shop.write("compose.yaml", &compose("{aliases: ['api-${SLOT}']}", "http://api:3000"));
    let told = refusal(&shop, shop.builder()).await;
    assert!(told.contains("services.web") && told.contains(r#"call it "api-${SLOT}""#), "{told}");

    shop.write("compose.yaml", &compose("{aliases: ['api-${SLOT}']}", "http://api-${SLOT}:3000"));
    let runtime = shop.runtime();
    for (slot, version) in Slot::BOTH.into_iter().zip(["1.0", "2.0"]) {
        up(&runtime, &shop, slot, version).await;
    }
    let web = shop.container(Slot::Blue, "web");
    for _ in 0..40 {
        let page = docker_ok(&["exec", &web, "sh", "-c", "wget -q -O- $API"]);
        assert_eq!(page, "this-is-1.0", "the staged slot answered");
    }
}

struct Network(String);

impl Drop for Network {
    fn drop(&mut self) {
        for id in docker_ok(&["ps", "-aq", "--filter", &format!("network={}", self.0)]).lines() {
            docker(&["rm", "-f", "-v", id]);
        }
        docker(&["network", "rm", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_image_is_built_for_each_release_and_what_was_built_is_not_built_again() {
    needs_docker!();
    let shop = Shop::new("services: {web: {build: {context: '.', args: {TEXT: '${VERSION}'}}}}");
    let base = shop.images.make("base:1", WAITS);
    let dockerfile = format!(
        "FROM {base}\nARG TEXT\nRUN mkdir -p /www && echo this-is-$TEXT > /www/index.html\nLABEL {}\n\
         CMD [\"sh\", \"-c\", \"trap 'exit 0' TERM; httpd -p 3000 -h /www; while :; do sleep 1 & wait $!; done\"]\n",
        shop.images.mark()
    );
    shop.write("Dockerfile", &dockerfile);
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    for (slot, version) in Slot::BOTH.into_iter().zip(["1.0", "1.0+build.7"]) {
        up(&runtime, &shop, slot, version).await;
        let address = runtime.inspect(slot).await.unwrap().endpoint(None).unwrap().address.clone();
        assert!(get(&address).contains(&format!("this-is-{version}")));
    }
    let images = || docker_ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=bluegreen.built"]);
    let own: Vec<_> = images().lines().filter(|name| name.contains(&shop.name)).map(str::to_owned).collect();
    assert_eq!(own.len(), 2, "{own:?}");
    let _removed = Built(own.clone());
    assert!(own.contains(&format!("bluegreen/{}-web:1.0", shop.name)), "{own:?}");
    // A rollback needs neither the directory nor its content.
    shop.write("Dockerfile", "FROM nothing-of-the-kind\n");
    runtime.stop(Slot::Blue, grace()).await.unwrap();
    up(&runtime, &shop, Slot::Blue, "1.0").await;
    let error = runtime.prepare(&shop.version(Slot::Blue, "3.0")).await.unwrap_err();
    let text = error.chain();
    assert!(text.contains("build web") && text.contains("nothing-of-the-kind"), "{text}");
    assert!(!text.contains('\n') && !text.contains("flock"), "{text}");
}

struct Built(Vec<String>);

impl Drop for Built {
    fn drop(&mut self) {
        for name in &self.0 {
            let used = docker_ok(&["ps", "-aq", "--filter", &format!("ancestor={name}")]);
            used.lines().for_each(|id| drop(docker(&["rm", "-f", "-v", id])));
            docker(&["rmi", "-f", name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_in_no_registry_is_used_as_compose_uses_it() {
    needs_docker!();
    let mut shop = Shop::new("services: {web: {image: 'IMAGES/web:${VERSION}'}}");
    shop.images.make("web:1.0", WAITS);
    up(&shop.runtime(), &shop, Slot::Blue, "1.0").await;
    shop.registry.end();
    shop.images.make("web:2.0", WAITS);
    up(&shop.runtime(), &shop, Slot::Green, "2.0").await;
    let error = shop.runtime().prepare(&shop.version(Slot::Blue, "3.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_without_a_name_go_with_their_containers_and_those_with_one_stay() {
    needs_docker!();
    let shop = Shop::new(
        "services: {web: {image: 'IMAGES/web:1.0', volumes: ['/nameless', 'cache:/cache']}}\nvolumes: {cache: {}}",
    );
    shop.publish("web:1.0", WAITS);
    let runtime = shop.builder().data_per_slot(["cache"]).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    for _ in 0..2 {
        up(&runtime, &shop, Slot::Green, "1.0").await;
        let mounts = docker_ok(&[
            "inspect",
            "--format",
            "{{range .Mounts}}{{.Name}} {{end}}",
            &shop.container(target.slot, "web"),
        ]);
        runtime.stop(Slot::Green, grace()).await.unwrap();
        let left = docker_ok(&["volume", "ls", "-q"]);
        for name in mounts.split(' ').filter(|name| !name.is_empty()) {
            assert_eq!(left.lines().any(|left| left == name), name.ends_with("_cache"), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_file_beside_the_compose_file_is_read_as_compose_does_and_unset_variables_are_told() {
    needs_docker!();
    let shop = Shop::new("services: {web: {image: 'IMAGES/web:1.0', environment: {A: one, B: '${NOWHERE_SET}'}}}");
    shop.write("compose.override.yml", "services: {web: {environment: {A: two}}}");
    shop.publish("web:1.0", WAITS);
    let runtime = shop.runtime();
    let told = runtime.preview(&shop.version(Slot::Green, "1.0")).await.unwrap();
    assert!(told.notes.iter().any(|note| note.contains("NOWHERE_SET")), "{told:?}");
    up(&runtime, &shop, Slot::Green, "1.0").await;
    let environment = docker_ok(&["inspect", "--format", "{{.Config.Env}}", &shop.container(Slot::Green, "web")]);
    assert!(environment.contains("A=two"), "{environment}");
    // The next version runs the very same image.
    let told = runtime.preview(&shop.version(Slot::Blue, "2.0")).await.unwrap();
    assert!(told.notes.iter().any(|note| note.contains("same images as 1.0")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compose_warns_of_is_told_with_what_fails_because_of_it() {
    needs_docker!();
    let refused = "services: {db: {image: 'IMAGES/postgres:16', volumes: ['pg:/data'], environment: {A: '${NOWHERE_SET}'}}}\nvolumes: {pg: {}}";
    let without_tag = "services: {web: {image: 'IMAGES/web:${NOWHERE_SET}'}}";
    let crashes = "services: {web: {image: 'IMAGES/web:1.0', environment: {A: '${NOWHERE_SET}'}}}";
    let shop = Shop::new(refused);
    shop.publish("web:1.0", "[ -n \"$A\" ] || exit 1");
    let target = shop.version(Slot::Green, "1.0");
    let told = |error: bluegreen_core::Error| {
        let text = error.chain();
        assert_eq!(text.matches("NOWHERE_SET").count(), 1, "{text}");
        assert!(text.contains("Compose warns: The \"NOWHERE_SET\" variable is not set"), "{text}");
    };
    for file in [refused, without_tag] {
        shop.write("compose.yaml", file);
        told(shop.runtime().prepare(&target).await.unwrap_err());
    }
    shop.write("compose.yaml", refused);
    told(shop.runtime().preview(&target).await.unwrap_err());
    shop.write("compose.yaml", crashes);
    let runtime = shop.builder().stabilization_time(std::time::Duration::from_secs(600)).build().unwrap();
    runtime.prepare(&target).await.unwrap();
    told(runtime.start(&target).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compose_says_of_a_file_is_told_once_on_one_line_and_without_our_own_words() {
    needs_docker!();
    let shop = Shop::new("services: {web: {image: 'IMAGES/web:${MUST_BE_SET:?say which}', env_file: [missing.env]}}");
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    let text = error.chain();
    assert_eq!(text.matches("say which").count(), 1, "{text}");
    assert!(!text.contains('\n') && !text.contains("flock") && !text.contains("--format"), "{text}");
    shop.write("compose.yaml", "services: {web: {image: 'IMAGES/web:1.0', env_file: [missing.env]}}");
    let error = shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    assert!(error.chain().contains("missing.env"), "{error:?}");
}
