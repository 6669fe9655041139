use std::time::Duration;

use super::defaults;
use crate::error::{Error, Result};

/// What a deploy does about a member that is out of reach when it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unreachable {
    /// It is refused, and nothing is done.
    #[default]
    Refuse,
    /// The member is set aside, and counts as failed.
    Skip,
}

/// How many members may fail, and how each is treated until it counts as failed.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(super) max_failures: Option<usize>,
    pub(super) max_failures_percent: Option<u8>,
    pub(super) unreachable: Unreachable,
    pub(super) stop_on_first: bool,
    pub(super) deadline: Duration,
    pub(super) retries: u32,
    pub(super) max_parallel: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_failures: None,
            max_failures_percent: None,
            unreachable: Unreachable::default(),
            stop_on_first: false,
            deadline: defaults::DEADLINE,
            retries: defaults::RETRIES,
            max_parallel: defaults::MAX_PARALLEL,
        }
    }
}

impl Policy {
    /// How many of so many members may be left behind by a deploy that counts as a success.
    pub(super) fn may_fail(&self, members: usize) -> usize {
        let percent = self.max_failures_percent.map(|percent| members * usize::from(percent) / 100);
        match (self.max_failures, percent) {
            (Some(count), Some(percent)) => count.min(percent),
            (Some(limit), None) | (None, Some(limit)) => limit,
            (None, None) => 0,
        }
    }

    pub(super) fn validate(&self, members: usize) -> Result<()> {
        if self.max_failures_percent.is_some_and(|percent| percent > 100) {
            return Err(Error::config("`max_failures_percent` is above 100"));
        }
        if self.may_fail(members) >= members {
            return Err(Error::config(format!(
                "all {members} members may fail by this policy, so a deploy that reached none of them would succeed: allow fewer"
            )));
        }
        if self.max_parallel == 0 || self.deadline.is_zero() {
            return Err(Error::config("`max_parallel` or `deadline` is zero, so no member could ever be done"));
        }
        Ok(())
    }
}
