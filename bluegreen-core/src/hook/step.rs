use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hook::Hook;
use crate::state::HookPlace;
use crate::types::Slot;

/// Default time limit of a hook: 60 s. Longer than a cache takes to clear, and short against a deploy.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A [`Hook`] with its name, its place and its time limit, for
/// [`PipelineBuilder::hook`](crate::pipeline::PipelineBuilder::hook).
///
/// Hooks of one place run in the order in which they were added.
///
/// # When it fails
///
/// Before the last move of traffic, a hook that fails fails the operation, which is undone, unless it is
/// [only noted](Self::only_noted). After the last move, from `after_shift(100)` on, a failure never undoes what succeeded: it is
/// noted in journal, events and report. A slot whose `before_retire` hook failed is kept and not stopped, unless that hook is
/// only noted.
///
/// # When its process died in it
///
/// A recovery that goes back does not run it again. One that goes on past its place runs it again if it is
/// [repeatable](Self::repeatable); otherwise it counts as done, and the report says so.
#[derive(Clone)]
pub struct HookStep {
    pub(crate) name: String,
    pub(crate) moment: Moment,
    pub(crate) hook: Arc<dyn Hook>,
    pub(crate) timeout: Duration,
    pub(crate) repeatable: bool,
    pub(crate) only_noted: bool,
    pub(crate) in_background: bool,
}

/// Which places a step stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(HookPlace),
    BeforeFirstShift,
    BeforeEachShift,
    AfterEachShift,
    BeforeRetire,
}

impl Moment {
    /// Whether it is this place. `is_first` says whether a place before a shift is before the first one of a release.
    pub(crate) fn is_at(self, place: HookPlace, is_first: bool) -> bool {
        match (self, place) {
            (Self::At(own), place) => own == place,
            (Self::BeforeFirstShift, HookPlace::BeforeShift(_)) => is_first,
            (Self::BeforeEachShift, HookPlace::BeforeShift(_))
            | (Self::AfterEachShift, HookPlace::AfterShift(_))
            | (Self::BeforeRetire, HookPlace::BeforeRetire(_)) => true,
            _ => false,
        }
    }

    /// The places that it can be at, where traffic moves by these shares.
    pub(crate) fn places(self, shares: &[u8]) -> Vec<HookPlace> {
        let shares = || shares.iter().copied();
        match self {
            Self::At(place) => vec![place],
            // Without anybody to share the traffic with, the first move is that of all of it.
            Self::BeforeFirstShift => shares().take(1).chain([100]).map(HookPlace::BeforeShift).collect(),
            Self::BeforeEachShift => shares().map(HookPlace::BeforeShift).collect(),
            Self::AfterEachShift => shares().map(HookPlace::AfterShift).collect(),
            Self::BeforeRetire => Slot::BOTH.into_iter().map(HookPlace::BeforeRetire).collect(),
        }
    }
}

macro_rules! places {
    ($($(#[$meta:meta])* $name:ident: $moment:expr;)*) => {
        $(
            $(#[$meta])*
            pub fn $name(name: impl Into<String>, hook: impl Hook) -> Self {
                Self::new(name.into(), $moment, Arc::new(hook))
            }
        )*
    };
}

impl HookStep {
    fn new(name: String, moment: Moment, hook: Arc<dyn Hook>) -> Self {
        let repeatable = hook.is_repeatable();
        Self { name, moment, hook, timeout: DEFAULT_TIMEOUT, repeatable, only_noted: false, in_background: false }
    }

    places! {
        /// Before a deploy or a stage does anything. What is refused runs no hooks.
        before_deploy: Moment::At(HookPlace::BeforeDeploy);
        /// After the release's content is where it will run.
        after_prepare: Moment::At(HookPlace::AfterPrepare);
        /// After the new release was seen to be healthy, before it gets any traffic; before migrations inside it, and before
        /// smoke tests.
        after_health: Moment::At(HookPlace::AfterHealth);
        /// Before the new release gets its first traffic, whatever share that is. A promotion that goes on with a canary that
        /// was held does not run it.
        before_first_shift: Moment::BeforeFirstShift;
        /// Before each move of traffic to the new release.
        before_each_shift: Moment::BeforeEachShift;
        /// After each move of traffic to the new release, before its soak.
        after_each_shift: Moment::AfterEachShift;
        /// After a deploy or a promotion has done all that it is there for. A deploy that only stages its release has not.
        after_success: Moment::At(HookPlace::AfterSuccess);
        /// After a deploy, a stage, a promotion or a rollback ended in any other way, after what is undone of it was: aborted,
        /// rolled back, held, or stuck. [`HookCall::outcome`](crate::hook::HookCall::outcome) says which. What was refused, and
        /// what lost its lease, runs no hooks.
        after_failure: Moment::At(HookPlace::AfterFailure);
        /// After a rollback has done all that it is there for. A rollback runs no hooks before: the way back depends on as
        /// little as possible.
        after_rollback: Moment::At(HookPlace::AfterRollback);
        /// Before a release is stopped, because its time is over (by a deploy, a rollback, or `retire`) or because the next
        /// release takes its slot. Not before a release that failed is stopped.
        before_retire: Moment::BeforeRetire;
    }

    /// Before this many percent of the traffic go to the new slot: one of the strategy's steps, or 100. Where the traffic moves
    /// at once, as in a first deploy, the other steps do not happen, and neither do their hooks.
    pub fn before_shift(percent: u8, name: impl Into<String>, hook: impl Hook) -> Self {
        Self::new(name.into(), Moment::At(HookPlace::BeforeShift(percent)), Arc::new(hook))
    }

    /// After this many percent of the traffic went to the new slot, before their soak. See [`Self::before_shift`].
    pub fn after_shift(percent: u8, name: impl Into<String>, hook: impl Hook) -> Self {
        Self::new(name.into(), Moment::At(HookPlace::AfterShift(percent)), Arc::new(hook))
    }

    /// How long it may take. Then it is cut off, and has failed. Default: 60 s ([`DEFAULT_TIMEOUT`]).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether it may run again after a death in it. Default: what [`Hook::is_repeatable`] says.
    #[must_use]
    pub fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }

    /// Whether a failure is only noted, and the operation goes on. Default: no.
    #[must_use]
    pub fn only_noted(mut self, only_noted: bool) -> Self {
        self.only_noted = only_noted;
        self
    }

    /// Whether nothing waits for it: it is started at its place and runs beside what follows, and a failure is noted. What still
    /// runs when the operation is over, its end on record and the lease free, is waited for until its time is over, so that the
    /// last message is sent. For messages only: it may run after the next operation has begun. A process that dies takes it
    /// along, and no recovery runs it again. Default: no.
    #[must_use]
    pub fn in_background(mut self, in_background: bool) -> Self {
        self.in_background = in_background;
        self
    }
}

/// What it does, and what is special about its failure.
impl fmt::Display for HookStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.in_background, self.only_noted) {
            (true, _) => ", in the background",
            (false, true) => "; a failure is only noted",
            (false, false) => "",
        };
        write!(f, "{}{how}", self.hook)
    }
}

impl fmt::Debug for HookStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookStep").field("name", &self.name).field("moment", &self.moment).finish_non_exhaustive()
    }
}
