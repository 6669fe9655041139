//! What is known of each member while operations run: who takes part, and what each was last seen to do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::change::MemberChange;
use crate::state::{MemberRecord, SetAside};
use crate::types::{Clock, Instance, MemberName, PerSlot, Slot, Split, SystemClock};

#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    standings: Vec<Standing>,
    /// The split that all members who take part agreed on last.
    split: Option<Split>,
    /// What was last said of the fleet's split: what a shift is asked to go from.
    told: Option<Split>,
    tolerance: Tolerance,
    changes: Vec<(usize, MemberChange)>,
}

/// How many members may be left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// As many as the policy says.
    #[default]
    Policy,
    /// All but one: what an operation looks at first, and a way back, must not depend on each of them.
    All,
    /// No further one: the operation is over.
    None,
}

/// What is known of one member.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) record: MemberRecord,
    pub(super) seen: PerSlot<Option<Instance>>,
    /// Why it was not healthy when it was last looked at.
    pub(super) unwell: PerSlot<Option<String>>,
    /// What its own router did when all agreed on a split last.
    pub(super) agreed: Option<Split>,
    /// What its own router did when the fleet's split was last told.
    pub(super) routed: Option<Split>,
    /// Whether it was out of reach when it was last looked at.
    pub(super) away: bool,
    /// Whether it was set aside since what is recorded was taken.
    pub(super) failed: bool,
    /// How long it was worked on.
    pub(super) took: Duration,
}

impl Roster {
    pub(super) fn new(members: usize) -> Self {
        Self(Mutex::new(Inner { standings: vec![Standing::default(); members], ..Inner::default() }))
    }

    /// Takes what is recorded, in place of what was known before.
    pub(super) fn load(
        &self,
        names: &[MemberName],
        records: &BTreeMap<MemberName, MemberRecord>,
        split: Option<Split>,
    ) {
        let mut inner = self.lock();
        let of = |name| {
            let record = records.get(name).cloned().unwrap_or_default();
            Standing { agreed: record.split, record, ..Standing::default() }
        };
        inner.standings = names.iter().map(of).collect();
        inner.split = split;
        inner.changes.clear();
    }

    pub(super) fn records(&self, names: &[MemberName]) -> BTreeMap<MemberName, MemberRecord> {
        let inner = self.lock();
        let record = |standing: &Standing| {
            let mut record = standing.record.clone();
            for slot in Slot::BOTH {
                if let Some(seen) = &standing.seen[slot] {
                    record.versions[slot] = seen.version().filter(|_| seen.is_running()).cloned();
                }
            }
            record
        };
        names.iter().cloned().zip(inner.standings.iter().map(record)).collect()
    }

    /// What is asked of one member.
    pub(super) fn read<T>(&self, member: usize, ask: impl FnOnce(&Standing) -> T) -> T {
        ask(&self.lock().standings[member])
    }

    pub(super) fn active(&self) -> Vec<usize> {
        self.which(|standing| standing.record.set_aside.is_none())
    }

    /// Those that were set aside in this operation.
    pub(super) fn failed(&self) -> Vec<usize> {
        self.which(|standing| standing.failed)
    }

    pub(super) fn aside(&self) -> Vec<usize> {
        self.which(|standing| standing.record.set_aside.is_some())
    }

    /// Those that did not run in a slot as a whole, or were not healthy in it, at the last look.
    pub(super) fn unwell(&self, slot: Slot) -> Vec<(usize, String)> {
        let active = self.active();
        let inner = self.lock();
        let reason = |standing: &Standing| match &standing.seen[slot] {
            Some(seen) if !seen.is_running() || seen.is_degraded() => Some(seen.to_string()),
            _ => standing.unwell[slot].clone(),
        };
        active.into_iter().filter_map(|member| Some((member, reason(&inner.standings[member])?))).collect()
    }

    /// Those that ended in a slot, as was seen at the last look.
    pub(super) fn ended(&self, slot: Slot) -> Vec<(usize, String)> {
        let mut unwell = self.unwell(slot);
        let has_ended = |standing: &Standing| standing.seen[slot].as_ref().is_some_and(|seen| !seen.is_running());
        unwell.retain(|(member, _)| self.read(*member, has_ended));
        unwell
    }

    pub(super) fn set_aside(&self, member: usize, reason: String) {
        let mut inner = self.lock();
        let standing = &mut inner.standings[member];
        standing.unwell = PerSlot::default();
        standing.failed = true;
        standing.record.set_aside = Some(SetAside::new(SystemClock.now(), reason.clone()));
        inner.changes.push((member, MemberChange::SetAside { reason }));
    }

    /// As [`set_aside`](Self::set_aside), for one that is new: that is no news to anybody.
    pub(super) fn leave_out(&self, member: usize, reason: &str) {
        let aside = SetAside::new(SystemClock.now(), reason.to_owned());
        self.lock().standings[member].record.set_aside.get_or_insert(aside);
    }

    pub(super) fn rejoin(&self, member: usize) {
        let mut inner = self.lock();
        if inner.standings[member].record.set_aside.take().is_some() {
            inner.changes.push((member, MemberChange::Rejoined));
        }
    }

    pub(super) fn saw(&self, member: usize, slot: Slot, instance: Instance) {
        self.lock().standings[member].seen[slot] = Some(instance);
    }

    pub(super) fn set_away(&self, member: usize, away: bool) {
        self.lock().standings[member].away = away;
    }

    pub(super) fn away(&self) -> Vec<usize> {
        self.which(|standing| standing.away)
    }

    pub(super) fn looked(&self, member: usize, slot: Slot, unwell: Option<String>) {
        self.lock().standings[member].unwell[slot] = unwell;
    }

    pub(super) fn switched(&self, member: usize, to: Split) {
        let mut inner = self.lock();
        inner.standings[member].record.split = Some(to);
        inner.changes.push((member, MemberChange::Switched { to }));
    }

    pub(super) fn confirmed(&self, member: usize, split: Option<Split>) {
        let standing = &mut self.lock().standings[member];
        standing.record.split = split;
        standing.agreed = split;
    }

    pub(super) fn worked(&self, member: usize, took: Duration) {
        self.lock().standings[member].took += took;
    }

    pub(super) fn split(&self) -> Option<Split> {
        self.lock().split
    }

    /// Remembers what is said of the fleet's split, and of what it is made.
    pub(super) fn tell(&self, split: Option<Split>, found: &[(usize, Option<Split>)]) {
        let mut inner = self.lock();
        inner.told = split;
        for (member, routed) in found {
            inner.standings[*member].routed = *routed;
            inner.standings[*member].record.split = *routed;
        }
    }

    /// Whether this was last said of the fleet's split, and these members have done the same ever since.
    pub(super) fn is_unchanged(&self, split: Option<Split>, found: &[(usize, Option<Split>)]) -> bool {
        let inner = self.lock();
        inner.told == split && found.iter().all(|(member, routed)| inner.standings[*member].routed == *routed)
    }

    pub(super) fn agree_on(&self, split: Split) {
        self.lock().split = Some(split);
    }

    /// Whether whoever fails is left behind, however many.
    pub(super) fn is_tolerant(&self) -> bool {
        self.tolerance() == Tolerance::All
    }

    pub(super) fn tolerance(&self) -> Tolerance {
        self.lock().tolerance
    }

    pub(super) fn set_tolerance(&self, tolerance: Tolerance) {
        self.lock().tolerance = tolerance;
    }

    pub(super) fn take_changes(&self) -> Vec<(usize, MemberChange)> {
        std::mem::take(&mut self.lock().changes)
    }

    fn which(&self, wanted: impl Fn(&Standing) -> bool) -> Vec<usize> {
        let inner = self.lock();
        inner.standings.iter().enumerate().filter(|(_, standing)| wanted(standing)).map(|(index, _)| index).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
