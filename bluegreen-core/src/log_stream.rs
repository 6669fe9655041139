//! Following the log of a slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::time::sleep;

use crate::error::Result;
use crate::runtime::Runtime;
use crate::types::Slot;

/// How often a log that is followed is read: once a second.
pub const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How many lines are read each time, at least. A slot that writes more than these 1,000 in a second has the oldest of them
/// skipped.
pub const FOLLOW_LINES: usize = 1_000;

/// The last `tail` lines of a slot's log, and then each line as it is written. It never ends by itself. A failed read is
/// handed on as an error, and the next read follows after [`FOLLOW_INTERVAL`].
pub(crate) fn follow(runtime: Arc<dyn Runtime>, slot: Slot, tail: usize) -> impl Stream<Item = Result<String>> + Send {
    let start = Follower { runtime, slot, tail, seen: None, has_read: false, ready: VecDeque::new() };
    stream::unfold(start, async |mut follower| {
        let line = follower.next().await;
        Some((line, follower))
    })
}

struct Follower {
    runtime: Arc<dyn Runtime>,
    slot: Slot,
    tail: usize,
    /// What was read last.
    seen: Option<Vec<String>>,
    /// Whether it was tried at all.
    has_read: bool,
    ready: VecDeque<String>,
}

impl Follower {
    async fn next(&mut self) -> Result<String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(line);
            }
            if self.has_read {
                sleep(FOLLOW_INTERVAL).await;
            }
            self.has_read = true;
            let read = self.runtime.logs(self.slot, self.tail.max(FOLLOW_LINES)).await?;
            let new = match &self.seen {
                None => read.len().saturating_sub(self.tail),
                Some(seen) => overlap(seen, &read),
            };
            self.ready.extend(read[new..].iter().cloned());
            self.seen = Some(read);
        }
    }
}

/// How many lines at the beginning of `now` are those that `before` ends with.
pub(crate) fn overlap(before: &[String], now: &[String]) -> usize {
    let most = before.len().min(now.len());
    (0..=most).rev().find(|count| before[before.len() - count..] == now[..*count]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::memory::MemoryRuntime;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_lines_that_were_not_read_before_are_new() {
        for (before, now, overlapping) in [
            ("", "a b", 0),
            ("a b", "a b", 2),
            ("a b", "a b c", 2),
            ("a b c", "b c d", 2),
            ("a a", "a a a", 2),
            ("a b", "c d", 0),
            ("a b", "", 0),
        ] {
            assert_eq!(overlap(&lines(before), &lines(now)), overlapping, "{before:?}, {now:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_followed_from_its_last_lines_on() {
        let runtime = MemoryRuntime::new();
        for line in ["one", "two", "three"] {
            runtime.log(Slot::Blue, line);
        }
        let mut log = Box::pin(follow(Arc::new(runtime.clone()), Slot::Blue, 2));
        assert_eq!(log.next().await.unwrap().unwrap(), "two");
        assert_eq!(log.next().await.unwrap().unwrap(), "three");
        let writer = tokio::spawn(async move {
            sleep(Duration::from_secs(60)).await;
            runtime.log(Slot::Blue, "four");
            runtime.log(Slot::Blue, "five");
        });
        assert_eq!(log.next().await.unwrap().unwrap(), "four");
        assert_eq!(log.next().await.unwrap().unwrap(), "five");
        writer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_read_that_fails_does_not_show_more_of_the_past() {
        let runtime = MemoryRuntime::new();
        for line in ["one", "two", "three"] {
            runtime.log(Slot::Blue, line);
        }
        runtime.set_reachable(Slot::Blue, false);
        let mut log = Box::pin(follow(Arc::new(runtime.clone()), Slot::Blue, 1));
        assert!(log.next().await.unwrap().is_err());
        runtime.set_reachable(Slot::Blue, true);
        assert_eq!(log.next().await.unwrap().unwrap(), "three");
    }
}
