//! A timer for one connection that is set anew all the time and hardly ever goes off.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task at a time that may move. A later time costs nothing: the timer is left as it is, and looks again when
/// it goes off.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn at(time: Instant) -> Self {
        Self(Box::pin(sleep_until(time)))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, time: Instant) -> Poll<()> {
        loop {
            if self.0.is_elapsed() || self.0.deadline() > time {
                if Instant::now() >= time {
                    return Poll::Ready(());
                }
                self.0.as_mut().reset(time);
            }
            match self.0.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if Instant::now() >= time => return Poll::Ready(()),
                Poll::Ready(()) => {}
            }
        }
    }

    /// Waits until then.
    pub(super) async fn reaches(&mut self, time: Instant) {
        std::future::poll_fn(|cx| self.poll(cx, time)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_last_time_it_was_set_to_whether_that_is_later_or_sooner() {
        let began = Instant::now();
        let mut alarm = Alarm::at(began + Duration::from_secs(10));
        for seconds in [20, 21, 40] {
            alarm.reaches(began + Duration::from_secs(seconds)).await;
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
        let late = alarm.reaches(began + Duration::from_secs(900));
        assert!(tokio::time::timeout(Duration::from_secs(1), late).await.is_err());
        alarm.reaches(began + Duration::from_secs(50)).await;
        assert_eq!(began.elapsed().as_secs(), 50);
        alarm.reaches(began).await;
        assert_eq!(began.elapsed().as_secs(), 50);
    }
}
