use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::shared::Shared;
use super::slot_view;
use super::wave::percent_of;
use crate::error::{Error, ErrorKind, Result};
use crate::preview::Preview;
use crate::router::{Granularity, Router, split_changed};
use crate::types::{Instance, ServiceName, Slot, Split};

/// The routers of all members of a fleet as one. A split of it is members: see [`Wave`](super::Wave).
///
/// It is a compare-and-swap on each member, and no transaction over all of them: a shift that is cut off leaves some members
/// switched, and [`current`](Router::current) says so.
#[derive(Debug, Clone)]
pub struct FleetRouter(pub(super) Arc<Shared>);

/// What each member's router does.
type Found = Vec<(usize, Option<Split>)>;

impl FleetRouter {
    /// A call on one member's router.
    fn call<T: Send + 'static>(
        &self,
        member: usize,
        call: impl FnOnce(Arc<dyn Router>) -> BoxFuture<'static, Result<T>>,
    ) -> BoxFuture<'static, Result<T>> {
        match self.0.members[member].router.clone() {
            Some(router) => call(router),
            None => Box::pin(async { Err(Error::config("the members of this fleet have no routers of their own")) }),
        }
    }

    async fn look(&self, who: Vec<usize>) -> Vec<(usize, Result<Option<Split>>)> {
        self.0.look(who, |member| self.call(member, |router| Box::pin(async move { router.current().await }))).await
    }

    async fn look_at_active(&self) -> Result<Found> {
        self.0.without_those_away(self.look(self.0.roster.active()).await)
    }

    /// The split that members of these splits make together. What all agreed on last is called as it was called then.
    fn reckon(&self, found: &Found) -> Option<Split> {
        let routed: Vec<_> = found.iter().filter_map(|(member, split)| Some((*member, (*split)?))).collect();
        if routed.is_empty() {
            return None;
        }
        let as_agreed = |(member, split): &(usize, Option<Split>)| {
            self.0.roster.read(*member, |standing| standing.agreed == *split)
        };
        if let Some(agreed) = self.0.roster.split().filter(|split| split.sole().is_none())
            && found.iter().all(as_agreed)
        {
            return Some(agreed);
        }
        let members: Vec<_> = found.iter().map(|(member, _)| *member).collect();
        // A member that routes nothing has not followed those that do, who have the service.
        let first = routed[0].1.majority();
        let elsewhere = Split::all(first.other());
        let shares: Vec<_> = found.iter().map(|(_, split)| split.unwrap_or(elsewhere).share(first)).collect();
        let percent = percent_of(&shares, &self.0.weights(&members));
        Split::toward(first, if routed.len() < found.len() { percent.max(51) } else { percent }).ok()
    }

    /// What each of these members is to do at this split.
    fn wanted(&self, from: Option<Split>, to: Split, members: &[usize]) -> Vec<Split> {
        let gains = |slot: &Slot| to.share(*slot) > from.map_or(0, |from| from.share(*slot));
        let new = Slot::BOTH.into_iter().find(gains).unwrap_or_else(|| to.majority());
        let shares = self.waves().shares(to.share(new), &self.0.weights(members), self.divides());
        shares.into_iter().map(|share| Split::toward(new, share).unwrap_or(Split::all(new))).collect()
    }

    fn waves(&self) -> &super::wave::Waves {
        self.0.waves.get_or_init(super::wave::Waves::default)
    }

    /// Whether each member can divide its own traffic.
    pub(super) fn divides(&self) -> bool {
        let divides = |router: &Arc<dyn Router>| router.granularity() == Granularity::Percent;
        self.0.members.iter().all(|member| member.router.as_ref().is_some_and(divides))
    }

    async fn switch(&self, moves: Vec<(usize, Option<Split>, Split)>) -> Vec<(usize, Result<Split>)> {
        let who = moves.iter().map(|(member, _, _)| *member).collect();
        let results = self.0.each(who, self.0.policy.deadline, |member| {
            let Some((_, from, to)) = moves.iter().find(|(other, _, _)| *other == member).copied() else {
                return Box::pin(async { Err(Error::config("not a member that moves")) });
            };
            self.call(member, move |router| {
                Box::pin(async move {
                    match router.shift(from, to).await {
                        Ok(()) => Ok(to),
                        // It may have happened all the same.
                        Err(error) => match router.current().await {
                            Ok(found) if found == Some(to) => Ok(to),
                            _ => Err(error),
                        },
                    }
                })
            })
        });
        let results = results.await;
        for (member, result) in &results {
            if let Ok(to) = result {
                self.0.roster.switched(*member, *to);
            }
        }
        results
    }

    /// Those that were set aside follow too, where what they would go back to runs. Nothing depends on it.
    async fn take_along(&self, to: Slot) {
        let aside = self.look(self.0.roster.aside()).await.into_iter();
        let mut moves = Vec::new();
        for (member, found) in aside {
            let Ok(Some(found)) = found else { continue };
            let runs = self.0.members[member].runtime.inspect(to).await.is_ok_and(|instance| instance.is_running());
            if found != Split::all(to) && runs {
                moves.push((member, Some(found), Split::all(to)));
            }
        }
        self.switch(moves).await;
    }

    async fn preview_on_each(&self, slot: Slot) -> Vec<(usize, Result<Preview>)> {
        let preview = |member| self.call(member, move |router| Box::pin(async move { router.preview(slot).await }));
        self.0.look(self.0.roster.active(), preview).await
    }
}

impl fmt::Display for FleetRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the routers of {} members ({})", self.0.members.len(), self.0.named(&self.0.all()))
    }
}

#[async_trait]
impl Router for FleetRouter {
    fn granularity(&self) -> Granularity {
        if self.0.members.len() > 1 || self.divides() { Granularity::Percent } else { Granularity::AllOrNothing }
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.0
            .members
            .iter()
            .filter_map(|member| member.router.as_ref())
            .try_for_each(|router| router.bind_service(service))
    }

    async fn current(&self) -> Result<Option<Split>> {
        let found = self.look_at_active().await?;
        let split = self.reckon(&found);
        self.0.roster.tell(split, &found);
        Ok(split)
    }

    async fn preview(&self, slot: Slot) -> Result<Preview> {
        self.0.combined(self.preview_on_each(slot).await)
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let own = |member: usize| slot_view::of_member(&self.0, member, instance);
        let who: Vec<_> = self.0.roster.active().into_iter().filter(|member| own(*member).is_some()).collect();
        let attached = self.0.each(who, self.0.policy.deadline, |member| {
            let own = own(member).unwrap_or(Instance::Absent);
            self.call(member, move |router| Box::pin(async move { router.attach(slot, &own).await }))
        });
        self.0.accept(attached.await).map(|_| ())
    }

    async fn detach(&self, slot: Slot) -> Result<()> {
        let detached = self.0.each(self.0.all(), self.0.policy.deadline, |member| {
            self.call(member, move |router| Box::pin(async move { router.detach(slot).await }))
        });
        let aside = self.0.roster.aside();
        let counted = detached.await.into_iter().filter(|(member, _)| !aside.contains(member)).collect();
        self.0.accept(counted).map(|_| ())
    }

    /// Moves the members that this split means, those of one wave at the same time. Returns when each of them has confirmed.
    /// One that fails is set aside, as the policy allows.
    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        if self.granularity() == Granularity::AllOrNothing && to.sole().is_none() {
            let error = Error::new(ErrorKind::Unsupported, format!("cannot divide traffic: {to}"));
            return Err(error.with("router", self));
        }
        let found = self.look_at_active().await?;
        let now = self.reckon(&found);
        let members: Vec<_> = found.iter().map(|(member, _)| *member).collect();
        let wanted = self.wanted(from, to, &members);
        let moves = || {
            let all = found.iter().zip(&wanted).map(|((member, found), wanted)| (*member, *found, *wanted));
            all.filter(|(_, found, wanted)| *found != Some(*wanted)).collect::<Vec<_>>()
        };
        let is_there = moves().is_empty();
        // Members that were set aside since have changed what the others make together.
        let is_from = now == from || self.0.roster.is_unchanged(from, &found);
        if !is_there && !is_from {
            return Err(split_changed(from, now).with("router", self));
        }
        let moved = self.switch(moves()).await;
        let stay = found.iter().zip(&wanted).filter(|((_, found), wanted)| *found == Some(**wanted));
        let done = stay.map(|((member, _), wanted)| (*member, Ok(*wanted))).chain(moved).collect();
        let done = self.0.accept(done)?;
        for (member, split) in &done {
            self.0.roster.confirmed(*member, Some(*split));
        }
        let done: Vec<_> = done.into_iter().map(|(member, split)| (member, Some(split))).collect();
        self.0.roster.tell(Some(to), &done);
        self.0.roster.agree_on(to);
        if self.0.roster.is_tolerant()
            && let Some(live) = to.sole()
        {
            self.take_along(live).await;
        }
        Ok(())
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let counts = self.0.look(self.0.roster.active(), |member| {
            self.call(member, move |router| Box::pin(async move { router.in_flight(slot).await }))
        });
        let counts = self.0.without_those_away(counts.await)?;
        Ok(counts.into_iter().map(|(_, count)| count).sum())
    }
}
