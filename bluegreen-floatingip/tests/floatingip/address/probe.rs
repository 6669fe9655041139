//! A provider whose word is not enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot};
use bluegreen_floatingip::{HttpProbe, PublicProbe};
use bluegreen_testkit::fakes::Front;

use super::setup::{BLUE, GREEN, OnDigitalOcean, V4};

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_returns_only_when_fresh_connections_are_answered_by_the_new_slot_in_a_row() {
    let on = OnDigitalOcean::at_blue(V4).await;
    // The network follows late, and wavers: blue, green, blue, then green.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let wavering = Front::start(move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        Some(if [1, 2].contains(&turn) || turn > 3 { Slot::Green } else { Slot::Blue })
    })
    .await;
    let probe = HttpProbe::new(&wavering.url(), "x-slot").unwrap();
    on.builder().confirm_by(probe, 5).build().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 9, "four that waver, then five in a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slot_that_never_answers_leaves_the_outcome_unknown() {
    let on = OnDigitalOcean::at_blue(V4).await;
    let dead = Front::start(|| None).await;
    let probe = HttpProbe::new(&dead.url(), "x-slot").unwrap();
    let router = on.builder().deadline(Duration::from_millis(500)).confirm_by(probe, 3).build();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert!(error.to_string().contains("last answered nobody"), "{error}");
    // The way back is the same move.
    on.router().shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(on.holder(), Some(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_answer_that_says_success_names_a_slot() {
    for (status, named) in [
        ("200 OK", Some(Slot::Green)),
        ("204 No Content", Some(Slot::Green)),
        ("302 Found", None),
        ("404 Not Found", None),
        ("500 Internal Server Error", None),
        ("503 Service Unavailable", None),
    ] {
        let front = Front::saying(status, || Some(Slot::Green)).await;
        let probe = HttpProbe::new(&front.url(), "x-slot").unwrap();
        assert_eq!(probe.answers().await.unwrap(), named, "{status}");
    }
}

#[test]
fn what_cannot_be_probed_is_refused_without_repeating_a_password() {
    for bad in ["ftp://shop", "shop", "https://anna:hidden@shop.example.com"] {
        let error = HttpProbe::new(bad, "x-slot").unwrap_err();
        assert!(!error.chain().contains("hidden"), "{error}");
    }
    assert!(HttpProbe::new("http://127.0.0.1", "not a header").is_err());
}
