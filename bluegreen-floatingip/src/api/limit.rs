//! How long a provider wants to be left alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bluegreen_http_client::header::{HeaderMap, RETRY_AFTER};

/// A limit that lasts longer ends the call: a deploy must not hang for an hour.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where the answer does not tell.
const UNTOLD: Duration = Duration::from_secs(2);

/// Until one call is given back, where they trickle.
const REFILL: Duration = Duration::from_secs(1);

/// Clocks differ, and a call that comes a moment too early counts against the next limit.
const MARGIN: Duration = Duration::from_millis(250);

/// How a cloud gives calls back to somebody who has used them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// All at once, at a time that the answer tells (DigitalOcean).
    Window,
    /// One after the other, each second (Hetzner). The time in the answer is when all of them are back, up to an hour
    /// later, and says nothing about the next one.
    Trickle,
}

impl Quota {
    /// Before the next attempt; the first one that was turned away is 1. `retry-after` in seconds, if there is one. Else
    /// `ratelimit-reset` as a time of the wall clock, or, where calls trickle back, one to two seconds, and twice as long
    /// after each attempt: others draw from the same quota.
    pub(super) fn wait(self, headers: &HeaderMap, attempt: u32) -> Duration {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if let Some(seconds) = number(RETRY_AFTER.as_str()) {
            return Duration::from_secs(seconds) + MARGIN;
        }
        match (self, number("ratelimit-reset")) {
            (Self::Trickle, _) => {
                let doubled = REFILL.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
                doubled.mul_f64(1.0 + fastrand::f64()).min(LONGEST_WAIT)
            }
            (Self::Window, Some(reset)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Duration::from_secs(reset).saturating_sub(now) + MARGIN
            }
            (Self::Window, None) => UNTOLD,
        }
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_http_client::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn retry_after_comes_first_then_the_reset_by_the_clock() {
        let in_a_minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        let reset = ("ratelimit-reset", in_a_minute.to_string());
        let wait = |headers: &HeaderMap| Quota::Window.wait(headers, 1);
        assert_eq!(wait(&headers(&[("retry-after", "3".to_owned()), reset.clone()])), Duration::from_secs(3) + MARGIN);
        let waited = wait(&headers(&[reset]));
        assert!(waited > Duration::from_secs(55) && waited <= Duration::from_secs(61), "{waited:?}");
        assert_eq!(wait(&headers(&[("ratelimit-reset", "17".to_owned())])), MARGIN, "a reset in the past");
        assert_eq!(wait(&headers(&[("retry-after", "soon".to_owned())])), UNTOLD);
    }

    #[test]
    fn where_calls_trickle_back_the_reset_is_ignored_and_pauses_grow() {
        let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
        let headers_of_hetzner = headers(&[("ratelimit-reset", in_an_hour.to_string())]);
        for (attempt, least) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            let waited = Quota::Trickle.wait(&headers_of_hetzner, attempt);
            assert!((least * 1000..=least * 2000).contains(&waited.as_millis()), "{attempt}: {waited:?}");
        }
        assert_eq!(Quota::Trickle.wait(&headers(&[]), 99), LONGEST_WAIT);
        assert_eq!(
            Quota::Trickle.wait(&headers(&[("retry-after", "3".to_owned())]), 1),
            Duration::from_secs(3) + MARGIN
        );
    }
}
