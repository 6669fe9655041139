//! Waiting on a machine that may have other things to do.

use std::time::{Duration, Instant};

/// How long something may take that only fails to come where it is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let limit = PATIENCE * 3 / 2;
    let deadline = Instant::now() + limit;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: still not so after {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether something is so within this time. Blocks.
pub fn comes(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Repeats what has a time limit with a longer one, until it has begun within it.
pub async fn with_time_enough<T>(mut work: impl AsyncFnMut(Duration) -> Option<T>) -> T {
    for seconds in [1, 4, 16, 64] {
        if let Some(done) = work(Duration::from_secs(seconds)).await {
            return done;
        }
    }
    panic!("it does not begin within a minute");
}
