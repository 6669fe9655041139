use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::testing::sample;

/// A moment at which a call is dropped, as by a timeout or a cancelled deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutOff {
    /// After it was polled so many times: cuts at the awaits themselves.
    Polls(usize),
    /// After it ran for so long: cuts into what it waits for.
    Time(Duration),
}

impl CutOff {
    /// The moments that suites use unless the fixture says otherwise: the first ten awaits, and times from 100 µs to
    /// 300 ms.
    pub fn usual() -> Vec<Self> {
        let polls = (1..=10).map(Self::Polls);
        polls
            .chain([100, 1000, 3000, 10_000, 30_000, 100_000, 300_000].map(Duration::from_micros).map(Self::Time))
            .collect()
    }

    /// Two of the usual awaits and two of the usual times, drawn anew in each run, for adapters whose calls take long. All of
    /// them with `BLUEGREEN_FULL=1`. See [`sample`].
    pub fn sampled() -> Vec<Self> {
        sample(Self::usual(), 2, |cut_off| matches!(cut_off, Self::Polls(_)))
    }

    /// Runs a call until this moment. `None`: it was dropped then.
    pub async fn run<F: Future>(self, call: F) -> Option<F::Output> {
        match self {
            Self::Time(time) => tokio::time::timeout(time, call).await.ok(),
            Self::Polls(polls) => {
                let mut call = pin!(call);
                let mut left = polls;
                std::future::poll_fn(|context| {
                    let polled = call.as_mut().poll(context).map(Some);
                    left = left.saturating_sub(1);
                    if polled.is_pending() && left == 0 { Poll::Ready(None) } else { polled }
                })
                .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_dropped_after_the_polls_or_finished_before() {
        let twice = || async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(CutOff::Polls(1).run(twice()).await, None);
        assert_eq!(CutOff::Polls(2).run(twice()).await, None);
        assert_eq!(CutOff::Polls(3).run(twice()).await, Some(7));
        assert_eq!(CutOff::Time(Duration::from_millis(1)).run(std::future::pending::<()>()).await, None);
    }
}
