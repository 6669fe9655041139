use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::defaults::PREPARE_DEADLINE;
use super::member::Member;
use super::shared::{Shared, is_away};
use super::slot_view;
use crate::error::{Error, ErrorKind, Result};
use crate::preview::Preview;
use crate::runtime::{Runtime, Stopped};
use crate::types::{Instance, Progress, ServiceName, Slot, Target};

/// The runtime of all members of a fleet: what is done, is done on each.
#[derive(Debug, Clone)]
pub struct FleetRuntime(pub(super) Arc<Shared>);

impl FleetRuntime {
    fn member(&self, member: usize) -> Arc<dyn Runtime> {
        self.0.members[member].runtime.clone()
    }

    /// As each member gets it: the bytes of many transfers at once would be read by nobody.
    fn quiet(target: &Target) -> Target {
        Target { progress: Progress::none(), ..target.clone() }
    }

    /// Stops a slot of one member. Whoever asks for it has asked the routers of those that take part; that of a member that was
    /// set aside may still send traffic there.
    async fn stop_on(shared: Arc<Shared>, member: usize, slot: Slot, grace: Duration) -> Result<Stopped> {
        let is_aside = shared.roster.read(member, |standing| standing.record.set_aside.is_some());
        let Member { runtime, router, .. } = &shared.members[member];
        if let Some(router) = router.as_ref().filter(|_| is_aside)
            && router.current().await?.is_some_and(|split| split.routes_to(slot))
        {
            return Ok(Stopped::default());
        }
        runtime.stop(slot, grace).await
    }
}

impl fmt::Display for FleetRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members ({})", self.0.members.len(), self.0.named(&self.0.all()))
    }
}

#[async_trait]
impl Runtime for FleetRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.0.members.iter().try_for_each(|member| member.runtime.bind_service(service))
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let previews = self.0.look(self.0.roster.active(), |member| {
            let (runtime, target) = (self.member(member), target.clone());
            Box::pin(async move { runtime.preview(&target).await })
        });
        self.0.combined(previews.await)
    }

    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        let previews = self.0.look(self.0.roster.active(), |member| {
            let runtime = self.member(member);
            Box::pin(async move { runtime.preview_slot(slot).await })
        });
        self.0.combined(previews.await)
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let limit = PREPARE_DEADLINE.max(self.0.policy.deadline);
        let calls = self.0.each(self.0.roster.active(), limit, |member| {
            let (runtime, target) = (self.member(member), Self::quiet(target));
            Box::pin(async move { runtime.prepare(&target).await })
        });
        self.0.accept(calls.await).map(|_| ())
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let limit = self.member_start_timeout().max(self.0.policy.deadline);
        let calls = self.0.each(self.0.roster.active(), limit, |member| {
            let (runtime, target) = (self.member(member), Self::quiet(target));
            Box::pin(async move { runtime.start(&target).await })
        });
        let started = self.0.accept(calls.await)?;
        for (member, instance) in &started {
            self.0.roster.saw(*member, target.slot, instance.clone());
        }
        Ok(slot_view::combined(&self.0, started))
    }

    /// As long as the slowest member may take, for each time that so many members are started as are at once.
    fn start_timeout(&self) -> Option<Duration> {
        let rounds = self.0.members.len().div_ceil(self.0.policy.max_parallel);
        let each = self.member_start_timeout().max(self.0.policy.deadline);
        Some(each.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)))
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let looks = self.0.look(self.0.roster.active(), |member| {
            let runtime = self.member(member);
            Box::pin(async move { runtime.inspect(slot).await })
        });
        let seen = self.0.without_those_away(looks.await)?;
        for (member, instance) in &seen {
            self.0.roster.saw(*member, slot, instance.clone());
        }
        Ok(slot_view::combined(&self.0, seen))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let tolerant = self.0.roster.is_tolerant();
        let who = if tolerant { self.0.all() } else { self.0.roster.active() };
        let limit = self.0.policy.deadline.max(grace.saturating_mul(2));
        let stops =
            self.0.each(who, limit, |member| Box::pin(Self::stop_on(self.0.clone(), member, slot, grace))).await;
        // Of those that are left out anyway, only what could be done is done.
        let aside = self.0.roster.aside();
        let counted = stops.into_iter().filter(|(member, result)| result.is_ok() || !aside.contains(member)).collect();
        let stopped = self.0.accept(counted)?;
        Ok(stopped.into_iter().fold(Stopped::default(), |mut all, (member, stopped)| {
            let name = &self.0.names[member];
            all.killed.extend(stopped.killed.into_iter().map(|what| format!("{what} on {name}")));
            all.hint = all.hint.or(stopped.hint);
            all
        }))
    }

    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        let looks = self.0.look(self.0.roster.active(), |member| {
            let runtime = self.member(member);
            Box::pin(async move { runtime.stop_grace(slot, grace).await })
        });
        Ok(looks.await.into_iter().filter_map(|(_, asked)| asked.ok()).max().unwrap_or(grace))
    }

    async fn promoted(&self, live: Slot) -> Result<()> {
        let calls = self.0.each(self.0.roster.active(), self.0.policy.deadline, |member| {
            let runtime = self.member(member);
            Box::pin(async move { runtime.promoted(live).await })
        });
        self.0.accept(calls.await).map(|_| ())
    }

    /// Each line with the member that wrote it. Where some members are not well, only theirs: they are the lines that matter.
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let mut who = self.0.roster.failed();
        who.extend(self.0.roster.unwell(slot).into_iter().map(|(member, _)| member));
        if who.is_empty() {
            who = self.0.roster.active();
        }
        let each = (tail / who.len().max(1)).max(1);
        let logs = self.0.look(who, |member| {
            let runtime = self.member(member);
            Box::pin(async move { runtime.logs(slot, each).await })
        });
        let lines = logs.await.into_iter().flat_map(|(member, lines)| {
            let name = &self.0.names[member];
            let lines = lines.unwrap_or_else(|error| vec![format!("(no log: {})", error.summary())]);
            lines.into_iter().map(move |line| format!("{name}: {line}"))
        });
        let lines: Vec<_> = lines.collect();
        Ok(lines[lines.len().saturating_sub(tail)..].to_vec())
    }
}

impl FleetRuntime {
    fn member_start_timeout(&self) -> Duration {
        self.0.members.iter().filter_map(|member| member.runtime.start_timeout()).max().unwrap_or_default()
    }
}

impl Shared {
    /// The notes of all members, each said once.
    pub(super) fn combined(&self, previews: Vec<(usize, Result<Preview>)>) -> Result<Preview> {
        let (done, failed): (Vec<_>, Vec<_>) = previews.into_iter().partition(|(_, preview)| preview.is_ok());
        let mut notes: Vec<(String, Vec<usize>)> = Vec::new();
        let mut add = |note: String, member| match notes.iter_mut().find(|(known, _)| *known == note) {
            Some((_, members)) => members.push(member),
            None => notes.push((note, vec![member])),
        };
        let mut changes = None;
        for (member, preview) in done {
            let Ok(preview) = preview else { continue };
            preview.notes.into_iter().for_each(|note| add(note, member));
            changes = changes.or(preview.changes);
        }
        if !failed.is_empty() && !self.allows(failed.len()) {
            let failed = failed.into_iter().filter_map(|(member, result)| result.err().map(|error| (member, error)));
            return Err(self.failure(failed.collect(), false));
        }
        for (member, preview) in failed {
            if let Err(error) = preview {
                add(format!("will be set aside: {}", error.summary()), member);
            }
        }
        let text = |(note, members): (String, Vec<usize>)| format!("{}: {note}", self.named(&members));
        Ok(Preview { notes: notes.into_iter().map(text).collect(), changes })
    }

    /// What came back from the members that are in reach. The others are set aside, as the policy allows.
    pub(super) fn without_those_away<T>(&self, looks: Vec<(usize, Result<T>)>) -> Result<Vec<(usize, T)>> {
        let is_away = |result: &Result<T>| result.as_ref().is_err_and(is_away);
        let (away, there): (Vec<_>, Vec<_>) = looks.into_iter().partition(|(_, result)| is_away(result));
        let away: Vec<_> = away.into_iter().filter_map(|(member, result)| Some((member, result.err()?))).collect();
        if there.is_empty() {
            return match away.is_empty() {
                true => Err(Error::new(ErrorKind::Unreachable, "all members are set aside").not_applied()),
                false => Err(self.failure(away, false)),
            };
        }
        if !away.is_empty() && !self.allows(away.len()) {
            return Err(self.failure(away, true));
        }
        for (member, error) in away {
            self.roster.set_aside(member, error.summary());
            self.roster.set_away(member, true);
        }
        self.accept(there)
    }
}
