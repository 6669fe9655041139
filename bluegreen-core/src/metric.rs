//! [`MetricSource`]: the counters that gates judge by.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;

use crate::error::Result;
use crate::types::{Instance, Target};

/// What one series has counted since its process started. Both only ever grow, until a restart sets them back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered.
    pub requests: u64,
    /// Those of them that were bad: failed, or slower than the limit.
    pub bad: u64,
}

/// One reading of a source. Never a ratio, and never a float that may not be a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// The counters of each series, by a name that stays the same from reading to reading, so that the restart of one
    /// process is not mistaken for negative traffic.
    Data(BTreeMap<String, Counters>),
    /// The source answered and has nothing on this instance yet.
    NoData {
        /// What was looked for.
        reason: String,
    },
    /// The source answered, and its counters cannot be trusted. A gate holds: it judges no requests that may never have
    /// happened.
    Untrusted {
        /// Why not, and what to do: "several processes answer here: aggregate them, or scrape each".
        reason: String,
    },
}

/// Reads the counters of one slot's instance.
///
/// # Contract
///
/// - Counters are cumulative, and those of one process each; differences are the gate's business. [`Continuity`](crate::Continuity) tells
///   the restart of a process from several that answer in turn.
/// - Nothing found is [`Sample::NoData`]; a source that cannot be asked is an error. Neither is zero bad requests.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait MetricSource: Debug + Display + Send + Sync + 'static {
    /// Reads once.
    async fn sample(&self, target: &Target, instance: &Instance) -> Result<Sample>;
}
