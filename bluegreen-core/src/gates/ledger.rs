//! What a gate remembers of one operation, counted in three ways: in all, in the present step, and in the present
//! stretch, so that a release that gets worse late is not saved by its past.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::continuity::Doubt;
use crate::error::Error;
use crate::gate::Window;
use crate::gates::block::Block;
use crate::gates::comparison::{Comparison, Pair};
use crate::gates::dispersion::Dispersion;
use crate::gates::evidence::{AboveLimit, Capital, Trouble};
use crate::gates::rules::Rules;
use crate::gates::tally::{Sum, Tally};
use crate::metric::{Counters, Sample};
use crate::types::{OperationId, Slot, Version};

/// Counts since some beginning, with their evidence.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// What the new slot counted.
    pub(super) new: Counters,
    /// Evidence that it is above the limit.
    pub(super) above: Capital,
    /// What both slots counted at the same time.
    pub(super) compared: Comparison,
    /// Whether the old slot was above the limit at some time.
    pub(super) old_trouble: Trouble,
}

/// The log evidence at which it is clear that a stretch shows nothing bad: odds of 20 to 1 for the limit being kept.
const REFUTED: f64 = -3.0;

impl Scope {
    /// Whether nothing can be gained from counting on: later evidence would first have to make up for so much.
    fn is_refuted(&self) -> bool {
        self.above.log_evidence() <= REFUTED && self.compared.log_evidence() <= 0.0
    }

    fn add(&mut self, block: &Block, above: &AboveLimit) {
        self.above.add(above, block.new);
        self.compared.add(block.both);
        self.old_trouble.add(above, block.both.old);
    }
}

/// What the present step counted.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// On the new slot.
    pub(super) new: Counters,
    /// On both slots at the same time.
    pub(super) both: Pair,
}

/// What one look found on one slot.
pub(super) enum Look {
    /// Counters.
    Series(BTreeMap<String, Counters>),
    /// No data, or an error of the source: both are a reason why there is nothing.
    Nothing(String),
    /// Counters that cannot be trusted.
    Untrusted(String),
}

impl From<Result<Sample, Error>> for Look {
    fn from(sample: Result<Sample, Error>) -> Self {
        match sample {
            Ok(Sample::Data(series)) if series.is_empty() => Self::Nothing("the source has no series".to_owned()),
            Ok(Sample::Data(series)) => Self::Series(series),
            Ok(Sample::NoData { reason }) => Self::Nothing(reason),
            Ok(Sample::Untrusted { reason }) => Self::Untrusted(reason),
            Err(error) => Self::Nothing(error.chain()),
        }
    }
}

/// Why what was counted cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Distrust {
    /// It will be known whether it can.
    ForNow(String),
    /// For the whole operation.
    ForGood(String),
}

impl Distrust {
    fn of(self, slot: &str) -> Self {
        let named = |why| format!("the {slot} slot's metrics: {why}");
        match self {
            Self::ForNow(why) => Self::ForNow(named(why)),
            Self::ForGood(why) => Self::ForGood(named(why)),
        }
    }
}

/// The memory of one operation.
#[derive(Debug)]
pub(super) struct Ledger {
    key: Key,
    window: u64,
    pub(super) operation: Scope,
    /// What was counted since the step began, or since the stretch before was refuted.
    pub(super) stretch: Scope,
    /// The number of the present stretch, from 1.
    pub(super) stretches: u32,
    pub(super) step: Step,
    /// Of the new slot and of the old one.
    pub(super) dispersion: [Dispersion; 2],
    /// All that was seen, the warm-up included: it hurts users just the same.
    pub(super) seen: Pair,
    /// Whether the old slot was ever read in this operation.
    pub(super) has_baseline: bool,
    /// Whether the warm-up of the present step is over.
    pub(super) counting: bool,
    /// Why what was counted on one of the slots cannot be trusted.
    pub(super) distrust: Option<Distrust>,
    /// How often in a row the new slot could not be read, and why not the last time.
    pub(super) missed: u32,
    pub(super) missed_why: Option<String>,
    /// Why the old slot could not be read at the last look.
    pub(super) old_missed_why: Option<String>,
    new: Tally,
    old: Tally,
    /// What the slots counted since the last window belongs to no step.
    is_new_window: [bool; 2],
    unpaired: Pair,
    block: Block,
    /// When the last look was that counted.
    counted_at: Duration,
}

/// What tells operations apart. The service does it from outside: it has one operation at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    operation: OperationId,
    slot: Slot,
    version: Version,
}

impl Key {
    fn of(window: &Window) -> Self {
        let target = &window.target;
        Self { operation: target.operation.clone(), slot: target.slot, version: target.version().clone() }
    }
}

impl Ledger {
    pub(super) fn new(window: &Window) -> Self {
        Self {
            key: Key::of(window),
            window: window.id,
            operation: Scope::default(),
            stretch: Scope::default(),
            stretches: 1,
            step: Step::default(),
            dispersion: Default::default(),
            block: Block::default(),
            counted_at: Duration::ZERO,
            seen: Pair::default(),
            has_baseline: false,
            counting: false,
            distrust: None,
            missed: 0,
            missed_why: None,
            old_missed_why: None,
            new: Tally::default(),
            old: Tally::default(),
            is_new_window: [true; 2],
            unpaired: Pair::default(),
        }
    }

    /// Turns to the window: a new step starts its own counts, a new operation starts all of them.
    pub(super) fn turn_to(&mut self, window: &Window, rules: &Rules) {
        if self.key != Key::of(window) {
            *self = Self::new(window);
        } else if self.window != window.id {
            self.close_block(&rules.above);
            let before = std::mem::replace(self, Self::new(window));
            self.stretches = before.stretches.saturating_add(1);
            self.operation = before.operation;
            self.dispersion = before.dispersion;
            self.seen = before.seen;
            (self.new, self.old) = (before.new, before.old);
            self.distrust = before.distrust;
            self.has_baseline = before.has_baseline;
        }
    }

    /// Takes over what the old slot was like before the deploy.
    pub(super) fn learn(&mut self, old: Dispersion) {
        self.dispersion[1] = old;
    }

    /// Enters what a look found at `elapsed` into the books. `old` is `None` while there is no baseline.
    pub(super) fn enter(&mut self, rules: &Rules, new: Look, old: Option<Look>, elapsed: Duration) {
        self.has_baseline |= matches!(old, Some(Look::Series(_)));
        let compared = old.is_some();
        let [first_new, first_old] = &mut self.is_new_window;
        let (new, new_distrust) = read(&mut self.new, new, first_new, &mut self.seen.new);
        let (old, old_distrust) = match old {
            Some(old) => read(&mut self.old, old, first_old, &mut self.seen.old),
            None => (Reading::First, None),
        };
        let distrust = [new_distrust.map(|why| why.of("new")), old_distrust.map(|why| why.of("old"))];
        let before = self.distrust.take().filter(|why| matches!(why, Distrust::ForGood(_)));
        self.distrust = before.into_iter().chain(distrust.into_iter().flatten()).max();
        self.missed_why = new.missed();
        self.missed = if self.missed_why.is_some() { self.missed.saturating_add(1) } else { 0 };
        self.old_missed_why = old.missed();

        let counted = Pair { new: new.counted(), old: old.counted() };
        if !self.counting {
            // The readings of this look are where counting begins.
            self.counting = elapsed >= rules.warm_up;
            self.unpaired = Pair::default();
            self.counted_at = elapsed;
            return;
        }
        for sum in [&mut self.operation.new, &mut self.stretch.new, &mut self.step.new] {
            sum.add(counted.new);
        }
        self.block.new.add(counted.new);
        self.block.span += elapsed.saturating_sub(std::mem::replace(&mut self.counted_at, elapsed));
        if compared {
            self.pair(counted, [&new, &old]);
        }
        if self.block.is_whole() {
            self.close_block(&rules.above);
        }
    }

    /// Compares only what both slots counted over the same time: from one look that read both to the next one.
    fn pair(&mut self, counted: Pair, readings: [&Reading; 2]) {
        self.unpaired.add(counted);
        if readings.iter().any(|reading| matches!(reading, Reading::Nothing(_))) {
            return;
        }
        let interval = std::mem::take(&mut self.unpaired);
        if readings.iter().all(|reading| matches!(reading, Reading::Counted(_))) {
            self.block.both.add(interval);
            self.step.both.add(interval);
        }
    }

    fn close_block(&mut self, above: &AboveLimit) {
        let block = std::mem::take(&mut self.block);
        self.operation.add(&block, above);
        self.stretch.add(&block, above);
        let [new, old] = &mut self.dispersion;
        new.add(block.new, block.span);
        old.add(block.both.old, block.span);
        if self.stretch.is_refuted() {
            self.stretch = Scope::default();
            self.stretches = self.stretches.saturating_add(1);
        }
    }
}

/// What a look gave for the books.
enum Reading {
    /// It could not be read, and why.
    Nothing(String),
    /// It was read for the first time in this window.
    First,
    /// So much came since the reading before.
    Counted(Counters),
}

impl Reading {
    fn counted(&self) -> Counters {
        match self {
            Self::Counted(counters) => *counters,
            _ => Counters::default(),
        }
    }

    fn missed(&self) -> Option<String> {
        match self {
            Self::Nothing(why) => Some(why.clone()),
            _ => None,
        }
    }
}

/// Enters a look into a tally. What was counted is seen, in any case; it is a step's only from its first reading on.
fn read(tally: &mut Tally, look: Look, first: &mut bool, seen: &mut Counters) -> (Reading, Option<Distrust>) {
    let series = match look {
        Look::Series(series) => series,
        Look::Nothing(why) => return (Reading::Nothing(why), None),
        Look::Untrusted(why) => return (Reading::Nothing(why.clone()), Some(Distrust::ForGood(why))),
    };
    let (counted, doubt) = tally.read(&series);
    seen.add(counted.unwrap_or_default());
    let is_first = std::mem::take(first);
    let counted = counted.filter(|_| !is_first);
    let distrust = doubt.map(|doubt| match doubt {
        Doubt::Restart { .. } => Distrust::ForNow(doubt.to_string()),
        Doubt::SeveralProcesses => Distrust::ForGood(doubt.to_string()),
    });
    (counted.map_or(Reading::First, Reading::Counted), distrust)
}
