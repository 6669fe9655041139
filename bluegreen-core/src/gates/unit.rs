//! [`Unit`]: what bad ones are counted against, and how a person reads that.

use std::time::Duration;

use crate::duration_text::short;
use crate::gates::wording::{grouped, percent};
use crate::metric::Counters;

/// Milliseconds of a minute: with [`Unit::Time`], each is one chance for something bad.
pub(super) const MINUTE: f64 = 60_000.0;

/// What bad ones are counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Requests, and what a bad one is, as in "3 of 1,000 requests failed".
    Requests(&'static str),
    /// Time with all traffic, in milliseconds.
    Time,
}

impl Unit {
    /// As in "3 of 1,000 requests failed"; `which` of the requests, as in "3 of the last 1,000".
    pub(super) fn counted(self, Counters { requests, bad }: Counters, which: &str) -> String {
        match self {
            Self::Requests(are_bad) => format!("{} of {which}{} requests {are_bad}", grouped(bad), grouped(requests)),
            Self::Time => format!("{} in {which}{} of all traffic", grouped(bad), time(requests)),
        }
    }

    /// As in "3 of 1,000".
    pub(super) fn of(self, Counters { requests, bad }: Counters) -> String {
        match self {
            Self::Requests(_) => format!("{} of {}", grouped(bad), grouped(requests)),
            Self::Time => format!("{} in {}", grouped(bad), time(requests)),
        }
    }

    pub(super) fn limit(self, limit: f64) -> String {
        match self {
            Self::Requests(_) => percent(limit),
            Self::Time => {
                let text = format!("{:.3}", limit * MINUTE);
                format!("{} a minute", text.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }

    /// What is missing for a verdict.
    pub(super) fn missing(self, requests: u64) -> String {
        match self {
            Self::Requests(_) => format!("needs at least {} more requests", grouped(requests)),
            Self::Time => format!("needs at least {} more of all traffic", time(requests)),
        }
    }
}

fn time(millis: u64) -> String {
    short(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_by_time_reads_as_one() {
        let counts = Counters { requests: 250_000, bad: 3 };
        assert_eq!(Unit::Time.counted(counts, "the last "), "3 in the last 4 min 10 s of all traffic");
        assert_eq!(Unit::Time.of(counts), "3 in 4 min 10 s");
        assert_eq!(Unit::Time.limit(2.5 / MINUTE), "2.5 a minute");
        assert_eq!(Unit::Time.missing(90_000), "needs at least 1 min 30 s more of all traffic");
    }
}
