//! What is promised of the ports at which a slot is reached: they are its own for as long as it is there.

use std::net::TcpListener;

use bluegreen_core::{Effect, ErrorKind, Instance, Runtime, Slot};
use bluegreen_docker::ComposeRuntime;

use crate::support::{Shop, docker, docker_ok, eventually, get, grace, needs_docker, serves};

/// Two ports side by side that nobody has.
fn two_ports() -> [u16; 2] {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        if let Some(second) = first.checked_add(1).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return [first, second];
        }
    }
}

/// A service whose two slots share a range of ports, and answer with their names.
fn shop_on(ports: [u16; 2]) -> Shop {
    let [first, last] = ports;
    let shop = Shop::new(&format!(
        "
services:
  api:
    image: IMAGES/app:${{VERSION}}
    hostname: it-is-${{SLOT}}
    ports: ['127.0.0.1:{first}-{last}:3000', '127.0.0.1::3001/udp']
"
    ));
    shop.publish("app:1.0", &serves("$(hostname)"));
    shop
}

async fn start(runtime: &ComposeRuntime, shop: &Shop, slot: Slot) -> String {
    runtime.prepare(&shop.version(slot, "1.0")).await.unwrap();
    address(&runtime.start(&shop.version(slot, "1.0")).await.unwrap())
}

fn address(instance: &Instance) -> String {
    instance.endpoint(None).unwrap_or_else(|| panic!("{instance} has no endpoint")).address.clone()
}

async fn answers(address: &str, text: &str) {
    eventually("the page", async || {
        std::net::TcpStream::connect(address).is_ok()
            && std::panic::catch_unwind(|| get(address)).is_ok_and(|page| page.contains(text))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_restarts_answers_where_it_did_before() {
    needs_docker!();
    for program in [&["docker", "compose"][..], &["docker-compose"][..]] {
        let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
        shop.publish("app:1.0", &serves("hello"));
        let builder = shop.builder().compose_program(program.iter().copied());
        let runtime = builder.endpoint("http", "api", 3000).build().unwrap();
        let before = start(&runtime, &shop, Slot::Green).await;
        docker_ok(&["restart", "-t", "5", &shop.container(Slot::Green, "api")]);
        assert_eq!(address(&runtime.inspect(Slot::Green).await.unwrap()), before, "{program:?}");
        answers(&before, "hello").await;
        // And so does the slot itself, when it is started again.
        runtime.stop(Slot::Green, grace()).await.unwrap();
        assert_eq!(start(&runtime, &shop, Slot::Green).await, before, "{program:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_leaves_to_the_engine_is_fixed_too() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}', ports: ['127.0.0.1::3000']}}");
    shop.publish("app:1.0", &serves("hello"));
    let runtime = shop.builder().endpoint("http", "api", 3000).build().unwrap();
    let before = start(&runtime, &shop, Slot::Green).await;
    docker_ok(&["restart", "-t", "5", &shop.container(Slot::Green, "api")]);
    assert_eq!(address(&runtime.inspect(Slot::Green).await.unwrap()), before);
    answers(&before, "hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slots_on_one_range_keep_their_ports_in_whichever_order_they_restart() {
    needs_docker!();
    let ports = two_ports();
    let shop = shop_on(ports);
    let runtime = shop.builder().endpoint("http", "api", 3000).build().unwrap();
    let expected = ports.map(|port| format!("127.0.0.1:{port}"));
    for slot in [Slot::Green, Slot::Blue] {
        assert_eq!(start(&runtime, &shop, slot).await, expected[usize::from(slot == Slot::Green)]);
    }
    let [blue, green] = Slot::BOTH.map(|slot| shop.container(slot, "api"));
    for order in [[&blue, &green], [&green, &blue]] {
        docker_ok(&["stop", "-t", "5", &blue, &green]);
        for id in order {
            docker_ok(&["start", id]);
        }
        for (slot, expected) in Slot::BOTH.into_iter().zip(&expected) {
            assert_eq!(address(&runtime.inspect(slot).await.unwrap()), *expected, "{slot}");
            answers(expected, &format!("it-is-{slot}")).await;
        }
    }
    let published = docker_ok(&["port", &green]);
    assert!(published.contains("3001/udp"), "the file's other ports are gone: {published}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_else_has_is_left_alone_and_told() {
    needs_docker!();
    let ports = two_ports();
    let shop = shop_on(ports);
    let runtime = shop.builder().endpoint("http", "api", 3000).build().unwrap();
    let others = TcpListener::bind(("127.0.0.1", ports[1])).unwrap();
    assert_eq!(start(&runtime, &shop, Slot::Green).await, format!("127.0.0.1:{}", ports[0]));

    // Also the port of a slot that is down for the moment is not free.
    let green = shop.container(Slot::Green, "api");
    docker_ok(&["stop", "-t", "5", &green]);
    runtime.prepare(&shop.version(Slot::Blue, "1.0")).await.unwrap();
    let error = runtime.start(&shop.version(Slot::Blue, "1.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error:?}");
    assert!(error.to_string().contains(&format!("no port of {}-{} is free", ports[0], ports[1])), "{error}");

    let thief = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    assert!(!docker(&["start", &green]).status.success(), "two listen on one port");
    let found = runtime.inspect(Slot::Green).await.unwrap();
    assert!(found.to_string().contains("address already in use"), "{found}");
    drop((thief, others));
}
