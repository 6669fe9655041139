//! What others do on the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen_core::{Effect, ErrorKind, Reason, Router, Slot};

use crate::setup::{BLUE, GREEN, Setup, share};

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_set_by_hand_is_read_back_and_makes_the_next_shift_a_conflict() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), share(10)).await.unwrap();
    assert_eq!((s.haproxy.server("blue1").2, s.haproxy.server("green1").2), (90, 10));
    s.haproxy.cli("set weight shop/green1 60");
    assert_eq!(s.current().await, Some(share(40)));
    let error = s.router.shift(Some(share(10)), share(50)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("found 60 % blue / 40 % green"), "{error}");
    assert_eq!(s.haproxy.server("green1").2, 60, "it stays as it is");

    // 33 of 133 is no whole percentage; the nearest one is where a shift can come from.
    s.haproxy.cli("set weight shop/blue1 100;set weight shop/green1 33");
    assert_eq!(s.current().await, Some(share(25)));
    s.router.shift(Some(share(25)), share(25)).await.unwrap();
    assert_eq!((s.haproxy.server("blue1").2, s.haproxy.server("green1").2), (75, 25), "a shift makes it exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_set_by_hand_is_seen() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), share(50)).await.unwrap();
    s.haproxy.cli("set server shop/blue1 state drain");
    assert_eq!(s.current().await, Some(GREEN));
    s.haproxy.cli("set server shop/green1 state maint");
    assert_eq!(s.current().await, None);
    assert_eq!(s.get().await.status, 503);
    s.router.shift(None, BLUE).await.unwrap();
    assert_eq!(s.get().await.body, "blue");
}

/// Somebody sets the weight back all the time: what a shift reads back is the truth, whatever was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_weight_that_somebody_changes_at_the_same_moment_is_a_conflict_or_was_set_later() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let (socket, done) = (s.haproxy.socket(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&done);
    let person = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(b"prompt\n").unwrap();
        let mut answer = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            stream.write_all(b"set weight shop/green1 77\n").unwrap();
            let _ = stream.read(&mut answer).unwrap();
        }
    });
    let (mut conflicts, mut done_well) = (0, 0);
    while conflicts == 0 || done_well + conflicts < 50 {
        let from = s.current().await;
        match s.router.shift(from, share(10)).await {
            Ok(()) => done_well += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error}");
                conflicts += 1;
            }
        }
        assert!(done_well < 5000, "nothing of it was ever noticed");
    }
    done.store(true, Ordering::Relaxed);
    person.join().unwrap();
    let from = s.current().await;
    s.router.shift(from, GREEN).await.unwrap();
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(0));
}
