//! What an undone deploy leaves is what was there before it.

use bluegreen_core::{Effect, ErrorKind, Instance, Reason, Router, Slot, Version};

use crate::setup::{BLUE, Setup, at};

fn of(version: &str, address: &str) -> Instance {
    match at([address]) {
        Instance::Running { endpoints, .. } => {
            Instance::Running { version: Some(Version::new(version).unwrap()), endpoints }
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detach_puts_the_address_of_before_back_however_often_it_was_attached() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let before = s.haproxy.server("green1");
    for _ in 0..2 {
        s.router.attach(Slot::Green, &of("2.0", "127.0.0.1:4001")).await.unwrap();
        s.router.attach(Slot::Green, &of("2.0", "127.0.0.1:4002")).await.unwrap();
        assert_eq!(s.haproxy.server("green1").0, "127.0.0.1:4002");
        s.router.detach(Slot::Green).await.unwrap();
        s.router.detach(Slot::Green).await.unwrap();
        assert_eq!(s.haproxy.server("green1"), before);
    }
    assert_eq!(s.current().await, Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn detach_leaves_alone_what_somebody_else_has_changed_since() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    s.router.attach(Slot::Green, &of("2.0", "127.0.0.1:4001")).await.unwrap();
    s.haproxy.cli("set server shop/green1 addr 127.0.0.1 port 4009");
    let error = s.router.detach(Slot::Green).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere));
    assert_eq!(s.haproxy.server("green1").0, "127.0.0.1:4009");
}
