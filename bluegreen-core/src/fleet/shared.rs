//! What the parts of a fleet have in common: calls on many members at once, and what the policy makes of those that fail.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use super::defaults::{FIRST_PAUSE, LOOK_DEADLINE};
use super::listener::Listener;
use super::member::Member;
use super::policy::Policy;
use super::roster::{Roster, Tolerance};
use super::wave::Waves;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::state::MemberRecord;
use crate::types::MemberName;

/// How many members an error names for one reason.
const NAMES_IN_ERROR: usize = 5;

/// How many different reasons it gives.
const REASONS_IN_ERROR: usize = 3;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) members: Vec<Member>,
    pub(super) names: Vec<MemberName>,
    pub(super) policy: Policy,
    /// The label of the members on which migrations run; any unless set.
    pub(super) migrate_on: Option<String>,
    /// Set by the pipeline that the fleet belongs to.
    pub(super) waves: OnceLock<Waves>,
    pub(super) check_timeout: OnceLock<Duration>,
    pub(super) roster: Roster,
    /// Whether an operation of this process runs on it.
    pub(super) busy: AtomicBool,
    /// Who is told how far that is.
    pub(super) listener: Listener,
}

impl Shared {
    /// Makes the same call on each of these members, at most so many at a time, each within its deadline, again where it may
    /// pass.
    pub(super) async fn each<T: Send>(
        &self,
        who: Vec<usize>,
        deadline: Duration,
        call: impl Fn(usize) -> BoxFuture<'static, Result<T>> + Sync,
    ) -> Vec<(usize, Result<T>)> {
        self.each_within(who, deadline, deadline, call).await
    }

    /// As [`each`](Self::each), for a look: it is not worth waiting long for, and is made again if no answer comes.
    pub(super) async fn look<T: Send>(
        &self,
        who: Vec<usize>,
        call: impl Fn(usize) -> BoxFuture<'static, Result<T>> + Sync,
    ) -> Vec<(usize, Result<T>)> {
        let deadline = LOOK_DEADLINE.min(self.policy.deadline);
        self.each_within(who, deadline, deadline / (self.policy.retries + 1), call).await
    }

    /// Makes the same check of each of these members at the same time, once. It ends before the look that it is part of.
    pub(super) async fn check<T: Send>(
        &self,
        who: Vec<usize>,
        check: impl Fn(usize) -> BoxFuture<'static, Result<T>> + Sync,
    ) -> Vec<(usize, Result<T>)> {
        let limit = self.check_timeout.get().copied().unwrap_or(LOOK_DEADLINE) * 4 / 5;
        let check = &check;
        let check_one = |member| async move { (member, within(limit, check(member)).await) };
        join_all(who.into_iter().map(check_one)).await
    }

    async fn each_within<T: Send>(
        &self,
        who: Vec<usize>,
        deadline: Duration,
        one_try: Duration,
        call: impl Fn(usize) -> BoxFuture<'static, Result<T>> + Sync,
    ) -> Vec<(usize, Result<T>)> {
        let stops = self.policy.stop_on_first && !self.roster.is_tolerant();
        let total = who.len();
        let calls = stream::iter(who).map(|member| {
            let call = &call;
            async move {
                let began = Instant::now();
                let result = self.persistently(deadline, one_try, || call(member)).await;
                self.roster.worked(member, began.elapsed());
                (member, result)
            }
        });
        let mut calls = Box::pin(calls.buffer_unordered(self.policy.max_parallel));
        let (mut results, mut failures) = (Vec::new(), 0);
        while let Some((member, result)) = calls.next().await {
            let failed = result.is_err();
            failures += usize::from(failed);
            results.push((member, result));
            self.listener.progressed(results.len(), total, failures);
            if failed && stops && !self.allows(failures) {
                break;
            }
        }
        results.sort_by_key(|(member, _)| *member);
        results
    }

    async fn persistently<T>(
        &self,
        deadline: Duration,
        one_try: Duration,
        call: impl Fn() -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let until = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        for _ in 0..self.policy.retries {
            let left = until.saturating_duration_since(Instant::now());
            match within(one_try.min(left), call()).await {
                Err(error) if error.is_retryable() && Instant::now() + pause < until => sleep(pause).await,
                result => return result,
            }
            pause *= 2;
        }
        within(until.saturating_duration_since(Instant::now()), call()).await
    }

    /// What came back from those members that did it. The others are set aside, if the policy allows that of so many.
    ///
    /// # Errors
    /// That says which members failed, and why, when too many did. Then nobody is set aside.
    pub(super) fn accept<T>(&self, results: Vec<(usize, Result<T>)>) -> Result<Vec<(usize, T)>> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (member, result) in results {
            match result {
                Ok(value) => done.push((member, value)),
                Err(error) => failed.push((member, error)),
            }
        }
        if failed.is_empty() {
            return Ok(done);
        }
        if done.is_empty() || !self.allows(failed.len()) {
            return Err(self.failure(failed, !done.is_empty()));
        }
        for (member, error) in failed {
            self.roster.set_aside(member, error.summary());
        }
        Ok(done)
    }

    /// Whether so many more members may fail. An operation that goes back leaves behind whoever does not follow.
    pub(super) fn allows(&self, more: usize) -> bool {
        let active = self.roster.active().len();
        let failed = self.members.len() - active;
        more < active
            && match self.roster.tolerance() {
                Tolerance::All => true,
                Tolerance::Policy => failed + more <= self.may_fail(),
                Tolerance::None => false,
            }
    }

    pub(super) fn may_fail(&self) -> usize {
        self.policy.may_fail(self.members.len())
    }

    pub(super) fn failure(&self, mut failed: Vec<(usize, Error)>, others_did_it: bool) -> Error {
        if self.members.len() == 1
            && let Some((_, error)) = failed.pop()
        {
            return error;
        }
        let mut reasons: Vec<(String, Vec<usize>)> = Vec::new();
        for (member, error) in &failed {
            let reason = error.summary();
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, members)) => members.push(*member),
                None => reasons.push((reason, vec![*member])),
            }
        }
        let all: Vec<_> =
            reasons.iter().map(|(reason, members)| format!("{}: {reason}", self.named(members))).collect();
        let more = match all.len().saturating_sub(REASONS_IN_ERROR) {
            0 => String::new(),
            more => format!("; and {more} other reasons"),
        };
        let shown = all.into_iter().take(REASONS_IN_ERROR).collect::<Vec<_>>().join("; ");
        let what =
            format!("{}: {shown}{more}", self.too_many(&failed.iter().map(|(member, _)| *member).collect::<Vec<_>>()));
        let first = &failed[0].1;
        let kind = if failed.iter().all(|(_, error)| error.kind() == first.kind()) {
            first.kind()
        } else {
            ErrorKind::Unexpected
        };
        let mut error = Error::new(kind, what).retryable(failed.iter().all(|(_, error)| error.is_retryable()));
        if let Some(reason) = first.reason() {
            error = error.with_reason(reason);
        }
        if let Some(hint) = failed.iter().find_map(|(_, error)| error.hint()) {
            error = error.with_hint(hint.to_owned());
        }
        let untouched = !others_did_it && failed.iter().all(|(_, error)| error.effect() == Effect::NotApplied);
        if untouched { error.not_applied() } else { error.maybe_applied() }
    }

    /// "2 of 8 members failed, and 1 may", with those that had failed before.
    fn too_many(&self, failed: &[usize]) -> String {
        let aside = self.roster.aside().into_iter().filter(|member| !failed.contains(member)).count();
        let (all, more) = (self.members.len(), failed.len());
        let before = if aside == 0 { String::new() } else { format!(" beside {aside} that had failed before") };
        let may = if self.roster.is_tolerant() { String::new() } else { format!(", and {} may", self.may_fail()) };
        format!("{more} of {all} members failed{before}{may}")
    }

    /// "web1, web2 and 6 more".
    pub(super) fn named(&self, members: &[usize]) -> String {
        let names: Vec<_> = members.iter().take(NAMES_IN_ERROR).map(|member| self.names[*member].as_str()).collect();
        let more = members.len().saturating_sub(NAMES_IN_ERROR);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}", names.join(", "))
    }

    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.members.len()).collect()
    }

    pub(super) fn weights(&self, members: &[usize]) -> Vec<u32> {
        members.iter().map(|member| self.members[*member].weight).collect()
    }

    pub(super) fn have_routers(&self) -> bool {
        self.members.iter().all(|member| member.router.is_some())
    }

    pub(super) fn records(&self) -> BTreeMap<MemberName, MemberRecord> {
        self.roster.records(&self.names)
    }
}

async fn within<T>(limit: Duration, call: BoxFuture<'static, Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}")));
    timeout(limit, call).await.unwrap_or_else(late)
}

/// Whether an error says that a member is out of reach, so that nobody knows what is on it.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
}
