use std::fmt;
use std::ops::RangeInclusive;

use bluegreen_core::{Error, Result};
use serde::Deserialize;

/// The HTTP statuses that are expected: one, several, or a range. The default is 200 to 299.
///
/// ```
/// use bluegreen_http::Statuses;
///
/// assert!(Statuses::from(200..=299).contains(204));
/// assert_eq!(Statuses::from([200, 404]).to_string(), "200 or 404");
/// assert_eq!(Statuses::default().to_string(), "200 to 299");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "InFile")]
pub struct Statuses(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Range(RangeInclusive<u16>),
    List(Vec<u16>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a status is a number such as 200, or a list of numbers")]
enum InFile {
    One(u16),
    Many(Vec<u16>),
}

impl Statuses {
    /// Whether this status is expected.
    pub fn contains(&self, status: u16) -> bool {
        match &self.0 {
            Kind::Range(range) => range.contains(&status),
            Kind::List(list) => list.contains(&status),
        }
    }

    /// Refuses what no server can answer with.
    pub(crate) fn validated(self) -> Result<Self> {
        let bounds = match &self.0 {
            Kind::Range(range) => vec![*range.start(), *range.end()],
            Kind::List(list) => list.clone(),
        };
        let empty = bounds.is_empty() || matches!(&self.0, Kind::Range(range) if range.is_empty());
        if empty {
            return Err(Error::config("no status is expected, so no answer can be right"));
        }
        match bounds.iter().find(|status| !(100..=999).contains(*status)) {
            Some(status) => Err(Error::config(format!("{status} is not an HTTP status"))),
            None => Ok(self),
        }
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(Kind::Range(200..=299))
    }
}

impl From<u16> for Statuses {
    fn from(status: u16) -> Self {
        Self(Kind::List(vec![status]))
    }
}

impl From<RangeInclusive<u16>> for Statuses {
    fn from(range: RangeInclusive<u16>) -> Self {
        Self(Kind::Range(range))
    }
}

impl From<Vec<u16>> for Statuses {
    fn from(list: Vec<u16>) -> Self {
        Self(Kind::List(list))
    }
}

impl<const N: usize> From<[u16; N]> for Statuses {
    fn from(list: [u16; N]) -> Self {
        Self(Kind::List(list.to_vec()))
    }
}

impl From<InFile> for Statuses {
    fn from(given: InFile) -> Self {
        match given {
            InFile::One(status) => status.into(),
            InFile::Many(list) => list.into(),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Range(range) => write!(f, "{} to {}", range.start(), range.end()),
            Kind::List(list) => f.write_str(&list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "what a user may write by mistake")]
    fn statuses_that_no_answer_can_have_are_refused() {
        for bad in [Statuses::from(20), Statuses::from([200, 1000]), Statuses::from(vec![]), Statuses::from(299..=200)]
        {
            assert!(bad.clone().validated().is_err(), "{bad}");
        }
    }
}
