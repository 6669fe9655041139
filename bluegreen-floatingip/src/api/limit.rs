//! How long a provider wants to be left alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// A limit that lasts longer ends the call: a deploy must not hang for an hour.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where the answer does not tell.
const UNTOLD: Duration = Duration::from_secs(2);

/// Clocks differ, and a call that comes a moment too early counts against the next limit.
const MARGIN: Duration = Duration::from_millis(250);

/// `retry-after` in seconds, else `ratelimit-reset` as a time of the wall clock.
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        return Duration::from_secs(seconds) + MARGIN;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match number("ratelimit-reset") {
        Some(reset) => Duration::from_secs(reset).saturating_sub(now) + MARGIN,
        None => UNTOLD,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn retry_after_comes_first_then_the_reset_by_the_clock() {
        let in_a_minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        let reset = ("ratelimit-reset", in_a_minute.to_string());
        assert_eq!(wait(&headers(&[("retry-after", "3".to_owned()), reset.clone()])), Duration::from_secs(3) + MARGIN);
        let waited = wait(&headers(&[reset]));
        assert!(waited > Duration::from_secs(55) && waited <= Duration::from_secs(61), "{waited:?}");
        assert_eq!(wait(&headers(&[("ratelimit-reset", "17".to_owned())])), MARGIN, "a reset in the past");
        assert_eq!(wait(&headers(&[("retry-after", "soon".to_owned())])), UNTOLD);
    }
}
