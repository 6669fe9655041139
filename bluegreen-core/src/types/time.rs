use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;

/// A moment in absolute time (UTC), printed and stored as RFC 3339 with milliseconds.
///
/// Durations inside one process are measured with the monotonic clock; this is for what must outlive a process:
/// when a slot went up, until when it is retained, when a soak ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

/// Always with milliseconds, so that texts of moments sort as the moments do.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Timestamp {
    /// From the system's time. Moments beyond the year 9999 become the last one that can be written.
    pub fn from_system(time: SystemTime) -> Self {
        let exact = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX);
        let whole = jiff::Timestamp::from_millisecond(exact.as_millisecond());
        Self(whole.unwrap_or(exact))
    }

    /// This moment plus a duration, at most the last one that can be written.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(jiff::Timestamp::MAX))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or(Duration::ZERO)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        text.parse().map(Self).map_err(|error: jiff::Error| {
            Error::config(format!("{text:?} is no moment: {error}")).with_hint("write it as 2026-01-31T08:00:00Z")
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// Tells the absolute time. Tests use one that follows tokio's paused clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_time_survives_storage_and_never_goes_negative() {
        let start = Timestamp::from_system(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        let later = start.plus(Duration::from_secs(3600));
        let json = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), later);
        assert_eq!(later.since(start), Duration::from_secs(3600));
        assert_eq!(start.since(later), Duration::ZERO);
        assert_eq!(start.to_string(), "2023-11-14T22:13:20.123Z");
        let whole = Timestamp::from_system(SystemTime::UNIX_EPOCH);
        assert_eq!(serde_json::to_string(&whole).unwrap(), "\"1970-01-01T00:00:00.000Z\"", "always as wide");
    }
}
