//! [`Fleet`]: many servers as one, deployed in waves, each with a record of its own.
//!
//! A fleet gives a pipeline one runtime and one router, so that all verbs work as with one server. A release is prepared on
//! all members, then started on all, then healthy on all; only then is traffic switched, wave by wave. A member that fails is
//! set aside, as the policy allows of so many; beyond that, everything that was switched is switched back.
//!
//! ```
//! use bluegreen_core::fleet::{Fleet, Wave};
//! use bluegreen_core::memory::{MemoryHealth, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! use bluegreen_core::pipeline::Strategy;
//! use bluegreen_core::{Pipeline, Release};
//! # use bluegreen_core::memory::MemoryPublic;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! # let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
//! # let public = MemoryPublic::new(&router, &runtime);
//! let fleet = Fleet::builder()
//!     .member("web1", runtime, router)
//!     .member("web2", MemoryRuntime::new(), MemoryRouter::new())
//!     .member("web3", MemoryRuntime::new(), MemoryRouter::new())
//!     .health(|_member| MemoryHealth::new())
//!     .max_failures(1)
//!     .build()?;
//! let pipeline = Pipeline::builder("shop")
//!     .fleet(&fleet)
//!     .store(MemoryStateStore::new())
//!     .verify(public)
//!     .strategy(Strategy::waves([Wave::members(1), Wave::all()]))
//!     .build()?;
//!
//! pipeline.deploy(Release::new("1.0")?).await?;
//! println!("{}", pipeline.deploy(Release::new("1.1")?).await?);
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```
//!
//! # What is guaranteed
//!
//! The guarantees of [`Pipeline`](crate::Pipeline) hold for the fleet as a whole, with these words for its members:
//!
//! - Nothing is switched while a member that the policy needs is not healthy.
//! - After each operation, and after each recovery, every member is on the old or on the new version, and the record says on
//!   which. A member that could not be switched, or switched back, is named with the reason.
//! - A slot is never stopped on a member whose own router sends traffic there, also where the member was set aside.
//! - A member that was set aside gets no release until [`resume`](crate::Pipeline::resume) or the next deploy has brought it
//!   to the live one.
//!
//! A shift of a fleet is a compare-and-swap on each member and no transaction over all: while it runs, some have switched.
//!
//! # Where members have no router
//!
//! One router in front of all of them is told all endpoints: build members by [`Member::new`] without a router, with the
//! [`address`](Member::address) at which the router reaches them, and give the router to the pipeline.

mod builder;
mod catch_up;
mod change;
mod check;
pub mod defaults;
mod listener;
mod member;
mod migrator;
mod policy;
mod roster;
mod router;
mod runtime;
mod shared;
mod slot_view;
mod wave;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::health::HealthCheck;
use crate::report::MemberReport;
use crate::state::{MemberRecord, OperationKind, State};
use crate::types::{MemberName, Slot, Split, Target};

use roster::Tolerance;
use shared::Shared;

pub use builder::FleetBuilder;
pub(crate) use catch_up::CatchUp;
pub use change::MemberChange;
pub use check::FleetCheck;
pub use member::Member;
pub use migrator::FleetMigrator;
pub use policy::Unreachable;
pub use router::FleetRouter;
pub use runtime::FleetRuntime;
pub use wave::Wave;
pub(crate) use wave::Waves;

/// An ordered list of members that are deployed together. Cheap to clone; clones are the same fleet, which belongs to one
/// pipeline.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

impl Fleet {
    /// The names of the members, in the order in which waves reach them.
    pub fn names(&self) -> &[MemberName] {
        &self.shared.names
    }

    /// The runtime of all members. [`PipelineBuilder::fleet`](crate::pipeline::PipelineBuilder::fleet) uses it.
    pub fn runtime(&self) -> FleetRuntime {
        FleetRuntime(self.shared.clone())
    }

    /// The routers of all members as one. [`PipelineBuilder::fleet`](crate::pipeline::PipelineBuilder::fleet) uses it, unless
    /// the pipeline is given another one.
    pub fn router(&self) -> FleetRouter {
        FleetRouter(self.shared.clone())
    }

    /// A check of each member's slot, for smoke tests: each check is given the endpoints of its member.
    pub fn check_each_slot<C: HealthCheck>(&self, check: impl Fn(&MemberName) -> C) -> FleetCheck {
        self.checks(check, true)
    }

    /// A check of each member's own public address, for
    /// [`PipelineBuilder::verify`](crate::pipeline::PipelineBuilder::verify).
    pub fn check_each_address<C: HealthCheck>(&self, check: impl Fn(&MemberName) -> C) -> FleetCheck {
        self.checks(check, false)
    }

    fn checks<C: HealthCheck>(&self, check: impl Fn(&MemberName) -> C, of_slot: bool) -> FleetCheck {
        let checks = self.names().iter().map(|name| Arc::new(check(name)) as Arc<dyn HealthCheck>).collect();
        FleetCheck { shared: self.shared.clone(), checks, of_slot }
    }

    /// Runs migrations once, on one of the members that have a migrator; `None` where none has.
    /// [`PipelineBuilder::fleet`](crate::pipeline::PipelineBuilder::fleet) uses it.
    pub fn migrator(&self) -> Option<FleetMigrator> {
        let any = self.shared.members.iter().any(|member| member.migrator.is_some());
        any.then(|| FleetMigrator { shared: self.shared.clone(), label: self.shared.migrate_on.clone() })
    }

    /// Makes it the fleet of one pipeline, with its waves.
    pub(crate) fn belong_to(&self, waves: Waves, check_timeout: Duration) -> Result<()> {
        let twice = |_| Error::config("this fleet belongs to a pipeline already: build one for each");
        self.shared.waves.set(waves).map_err(twice)?;
        let _ = self.shared.check_timeout.set(check_timeout);
        Ok(())
    }

    pub(crate) fn weights(&self) -> Vec<u32> {
        self.shared.weights(&self.shared.all())
    }

    /// Whether each member's router can divide its own traffic.
    pub(crate) fn divides(&self) -> bool {
        self.router().divides()
    }

    pub(crate) fn has_routers(&self) -> bool {
        self.shared.have_routers()
    }

    /// The check of all members' slots, where they have checks of their own.
    pub(crate) fn health(&self) -> Option<FleetCheck> {
        let checks: Option<_> = self.shared.members.iter().map(|member| member.health.clone()).collect();
        checks.map(|checks| FleetCheck { shared: self.shared.clone(), checks, of_slot: true })
    }

    /// The check of all members' public addresses, where they have some of their own.
    pub(crate) fn verify(&self) -> Option<FleetCheck> {
        let checks: Option<_> = self.shared.members.iter().map(|member| member.verify.clone()).collect();
        checks.map(|checks| FleetCheck { shared: self.shared.clone(), checks, of_slot: false })
    }

    /// The only member, where there is one: its own parts then are the pipeline's, which asks it no more often than it would
    /// without a fleet, and keeps no other record of it.
    pub(crate) fn sole(&self) -> Option<&Member> {
        match &*self.shared.members {
            [member] => Some(member),
            _ => None,
        }
    }

    /// Takes what is recorded of the members. Returns what a reader should know.
    ///
    /// # Errors
    /// `Conflict` when an unfinished operation, or a release that waits for its promotion, is of other members.
    pub(crate) fn begin(&self, state: &State, kind: Option<OperationKind>) -> Result<Vec<String>> {
        let (shared, known) = (&self.shared, &state.members);
        let is_new = |name: &&MemberName| !known.is_empty() && !known.contains_key(*name);
        let new: Vec<_> = shared.names.iter().filter(is_new).collect();
        let gone: Vec<_> = known.keys().filter(|name| !shared.names.contains(name)).collect();
        let needs_the_same = match kind {
            Some(OperationKind::Recover) => state.operation.as_ref().is_some_and(|dead| !dead.journal.is_empty()),
            Some(OperationKind::Promote) => true,
            _ => false,
        };
        if needs_the_same && !(new.is_empty() && gone.is_empty()) {
            let text = |names: Vec<&MemberName>| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            let what = format!(
                "it was begun over the members {}, and this fleet is {}",
                text(known.keys().collect()),
                text(shared.names.iter().collect())
            );
            return Err(Error::new(ErrorKind::Conflict, what)
                .with_reason(Reason::ChangedElsewhere)
                .not_applied()
                .with_hint("run it with the members that it was begun over; change the list before a deploy"));
        }
        shared.roster.load(&shared.names, known, state.split);
        // A deploy decides when it has looked: see `admit`.
        shared.roster.set_tolerance(Tolerance::All);
        let none_known = known.is_empty() && self.sole().is_none();
        if none_known && state.live.is_some() && state.split.is_some_and(|split| split.sole().is_some()) {
            // There was one server, or no fleet: who is at the live version is seen at the first look.
            shared.all().into_iter().for_each(|member| shared.roster.leave_out(member, "not at the live version yet"));
        }
        if state.live.is_some() {
            let new = shared.all().into_iter().filter(|member| is_new(&&shared.names[*member]));
            new.for_each(|member| shared.roster.leave_out(member, "new in the fleet: not at the live version yet"));
        }
        let note = |name: &MemberName| format!("{name} is not in the fleet any more: what runs there is left alone");
        Ok(gone.into_iter().map(note).collect())
    }

    /// Takes what is recorded for a look, unless an operation of this process goes by what it knows itself.
    pub(crate) fn look_with(&self, state: &State) {
        if !self.shared.busy.load(Ordering::Acquire) {
            let _ = self.begin(state, None);
        }
    }

    /// Says that an operation runs, until what is returned is dropped, and who is told on how many members a call is done, of how
    /// many, and on how many it failed.
    pub(crate) fn occupy(&self, tell: impl Fn(usize, usize, usize) + Send + Sync + 'static) -> Occupied {
        self.shared.busy.store(true, Ordering::Release);
        self.shared.listener.set(Some(Arc::new(tell)));
        Occupied(self.shared.clone())
    }

    /// From here on, members that fail are left behind, however many: the way back must not depend on each of them.
    pub(crate) fn tolerate(&self) {
        self.shared.roster.set_tolerance(Tolerance::All);
    }

    /// From here on, nobody is set aside: the operation is over, and what cannot be seen is left for the next one.
    pub(crate) fn conclude(&self) {
        self.shared.roster.set_tolerance(Tolerance::None);
    }

    /// Members that were set aside and are as the others are take part again.
    pub(crate) async fn look_at_aside(&self, live: Option<&Target>) {
        self.shared.look_at_aside(live).await;
    }

    /// Whether a deploy may begin with those that are out of reach. From here on, no more may fail than the policy says.
    pub(crate) fn admit(&self) -> Result<()> {
        let (shared, away) = (&self.shared, self.shared.roster.away());
        let allowed = match shared.policy.unreachable {
            Unreachable::Refuse => 0,
            Unreachable::Skip => shared.may_fail(),
        };
        if away.len() <= allowed {
            shared.roster.set_tolerance(Tolerance::Policy);
            return Ok(());
        }
        let reason =
            away.first().and_then(|member| shared.roster.read(*member, |standing| standing.record.set_aside.clone()));
        let reason = reason.map(|aside| format!(": {}", aside.reason)).unwrap_or_default();
        let error = Error::new(ErrorKind::Unreachable, format!("{} out of reach{reason}", shared.named(&away)));
        Err(error.not_applied().with_hint(match shared.policy.unreachable {
            Unreachable::Refuse => "to deploy without them, build the fleet with `.unreachable(Unreachable::Skip)` and a policy that lets so many fail",
            Unreachable::Skip => "more members are away than may fail by the policy",
        }))
    }

    /// Whether members in reach were left behind.
    pub(crate) fn is_behind(&self) -> bool {
        !self.shared.behind().is_empty()
    }

    /// The names of all that are set aside.
    pub(crate) fn set_aside(&self) -> Vec<&str> {
        self.shared.roster.aside().into_iter().map(|member| self.shared.names[member].as_str()).collect()
    }

    /// Brings up those that were left behind. Returns how many.
    pub(crate) async fn catch_up(&self, how: CatchUp) -> Result<usize> {
        self.shared.catch_up(how).await
    }

    /// Sets the members aside that were not healthy at the last look, where the policy allows it; then the rest goes on. One
    /// that had switched to the slot goes back to the other one where that runs.
    pub(crate) async fn set_aside_unwell(&self, slot: Slot) -> bool {
        self.set_these_aside(slot, self.shared.roster.unwell(slot)).await
    }

    /// As [`set_aside_unwell`](Self::set_aside_unwell), for those that have ended, which no wait makes healthy. `None`: nobody has.
    pub(crate) async fn set_aside_ended(&self, slot: Slot) -> Option<bool> {
        let ended = self.shared.roster.ended(slot);
        if ended.is_empty() { None } else { Some(self.set_these_aside(slot, ended).await) }
    }

    async fn set_these_aside(&self, slot: Slot, unwell: Vec<(usize, String)>) -> bool {
        let shared = &self.shared;
        let has_switched = |member: usize| {
            shared.roster.read(member, |standing| standing.record.split).is_some_and(|split| split.routes_to(slot))
        };
        let is_unwell = |member: &usize| unwell.iter().any(|(other, _)| other == member);
        // A wave that loses all of its members has told nothing about the release.
        let (lost, kept): (Vec<_>, Vec<_>) =
            shared.roster.active().into_iter().filter(|member| has_switched(*member)).partition(is_unwell);
        if unwell.is_empty() || !shared.allows(unwell.len()) || (!lost.is_empty() && kept.is_empty()) {
            return false;
        }
        for (member, reason) in unwell {
            shared.roster.set_aside(member, reason);
            let Member { runtime, router, .. } = &shared.members[member];
            let Some(router) = router else { continue };
            let goes_back = async {
                let found = router.current().await?.filter(|split| split.routes_to(slot));
                if found.is_some() && runtime.inspect(slot.other()).await?.is_running() {
                    router.shift(found, Split::all(slot.other())).await?;
                    shared.roster.switched(member, Split::all(slot.other()));
                }
                Ok::<_, Error>(())
            };
            // It is named as failed already.
            let _ = tokio::time::timeout(defaults::LOOK_DEADLINE, goes_back).await;
        }
        true
    }

    /// What is recorded of each member.
    pub(crate) fn records(&self) -> BTreeMap<MemberName, MemberRecord> {
        if self.sole().is_some() { BTreeMap::new() } else { self.shared.records() }
    }

    /// What happened to members since this was last called.
    pub(crate) fn take_changes(&self) -> Vec<(MemberName, MemberChange)> {
        let changes = self.shared.roster.take_changes().into_iter();
        changes.map(|(member, change)| (self.shared.names[member].clone(), change)).collect()
    }

    /// The members for a report: those that failed first, then the slowest.
    pub(crate) fn report(&self) -> Vec<MemberReport> {
        let records = self.records();
        let of = |(member, name): (usize, &MemberName)| {
            let record = records.get(name).cloned().unwrap_or_default();
            MemberReport { name: name.clone(), took: self.shared.roster.read(member, |standing| standing.took), record }
        };
        let several = self.shared.names.iter().enumerate().filter(|_| self.sole().is_none());
        let mut all: Vec<_> = several.map(of).collect();
        all.sort_by_key(|member| (member.record.set_aside.is_none(), std::cmp::Reverse(member.took)));
        all
    }
}

/// An operation runs on a fleet.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Shared>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.listener.set(None);
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("members", &self.shared.names).finish_non_exhaustive()
    }
}
