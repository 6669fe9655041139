//! What a gate remembers of one operation, counted in three ways: in all, in the present step, and in the present
//! stretch, so that a release that gets worse late is not saved by its past.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::gate::Window;
use crate::gates::comparison::{Comparison, Pair};
use crate::gates::decision::Rules;
use crate::gates::dispersion::Dispersion;
use crate::gates::evidence::{AboveLimit, Trouble};
use crate::gates::tally::{Sum, Tally};
use crate::metric::{Counters, Sample};
use crate::types::{OperationId, Slot, Version};

/// Counts since some beginning, with their evidence.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// What the new slot counted.
    pub(super) new: Counters,
    /// What both slots counted at the same time.
    pub(super) compared: Comparison,
    /// Whether the old slot was above the limit at some time.
    pub(super) old_trouble: Trouble,
}

/// The log evidence at which it is clear that a stretch shows nothing bad: odds of 20 to 1 for the limit being kept.
const REFUTED: f64 = -3.0;

impl Scope {
    /// Whether nothing can be gained from counting on: later evidence would first have to make up for so much.
    fn is_refuted(&self, above: &AboveLimit) -> bool {
        above.log_evidence(self.new) <= REFUTED && self.compared.log_evidence(1.0) <= 0.0
    }

    fn compare(&mut self, interval: Pair, above: &AboveLimit) {
        self.compared.add(interval);
        self.old_trouble.add(above, interval.old);
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
pub(super) type Look = Result<BTreeMap<String, Counters>, String>;

/// A sample as a look: no data and an error of the source are both a reason why there is nothing.
pub(super) fn look(sample: Result<Sample, Error>) -> Look {
    match sample {
        Ok(Sample::Data(series)) if series.is_empty() => Err("the source has no series".to_owned()),
        Ok(Sample::Data(series)) => Ok(series),
        Ok(Sample::NoData { reason }) => Err(reason),
        Err(error) => Err(error.chain()),
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
    pub(super) dispersion: Dispersion,
    /// All that was seen, the warm-up included: it hurts users just the same.
    pub(super) seen: Pair,
    /// Whether the old slot was ever read in this operation.
    pub(super) has_baseline: bool,
    /// Whether the warm-up of the present step is over.
    pub(super) counting: bool,
    /// How often in a row the new slot could not be read, and why not the last time.
    pub(super) missed: u32,
    pub(super) missed_why: Option<String>,
    /// Why the old slot could not be read at the last look.
    pub(super) old_missed_why: Option<String>,
    new: Tally,
    old: Tally,
    unpaired: Pair,
    paired_at: Duration,
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
            dispersion: Dispersion::default(),
            seen: Pair::default(),
            has_baseline: false,
            counting: false,
            missed: 0,
            missed_why: None,
            old_missed_why: None,
            new: Tally::default(),
            old: Tally::default(),
            unpaired: Pair::default(),
            paired_at: Duration::ZERO,
        }
    }

    /// Turns to the window: a new step starts its own counts, a new operation starts all of them.
    pub(super) fn turn_to(&mut self, window: &Window) {
        if self.key != Key::of(window) {
            *self = Self::new(window);
        } else if self.window != window.id {
            let before = std::mem::replace(self, Self::new(window));
            self.stretches = before.stretches.saturating_add(1);
            self.operation = before.operation;
            self.dispersion = before.dispersion;
            self.seen = before.seen;
            self.has_baseline = before.has_baseline;
        }
    }

    /// Enters what a look found at `elapsed` into the books. `old` is `None` while there is no baseline.
    pub(super) fn enter(&mut self, rules: &Rules, new: Look, old: Option<Look>, elapsed: Duration) {
        self.has_baseline |= matches!(old, Some(Ok(_)));
        let (new, missed) = read(&mut self.new, new);
        self.missed = if missed.is_some() { self.missed.saturating_add(1) } else { 0 };
        self.missed_why = missed;
        let compared = old.is_some();
        let (old, old_missed) = old.map_or((Reading::Nothing, None), |old| read(&mut self.old, old));
        self.old_missed_why = old_missed;

        let counted = Pair { new: new.counted(), old: old.counted() };
        self.seen.add(counted);
        if !self.counting {
            // The readings of this look are where counting begins.
            self.counting = elapsed >= rules.warm_up;
            self.unpaired = Pair::default();
            self.paired_at = elapsed;
            return;
        }
        for sum in [&mut self.operation.new, &mut self.stretch.new, &mut self.step.new] {
            sum.add(counted.new);
        }
        if compared {
            self.pair(&rules.above, counted, [&new, &old], elapsed);
        }
        if self.stretch.is_refuted(&rules.above) {
            self.stretch = Scope::default();
            self.stretches = self.stretches.saturating_add(1);
        }
    }

    /// Compares only what both slots counted over the same time: from one look that read both to the next one.
    fn pair(&mut self, above: &AboveLimit, counted: Pair, readings: [&Reading; 2], elapsed: Duration) {
        self.unpaired.add(counted);
        if readings.iter().any(|reading| matches!(reading, Reading::Nothing)) {
            return;
        }
        let interval = std::mem::take(&mut self.unpaired);
        let span = elapsed.saturating_sub(self.paired_at);
        self.paired_at = elapsed;
        if readings.iter().all(|reading| matches!(reading, Reading::Counted(_))) {
            self.operation.compare(interval, above);
            self.stretch.compare(interval, above);
            self.step.both.add(interval);
            self.dispersion.add(interval, span);
        }
    }
}

/// What a look gave for the books.
enum Reading {
    /// It could not be read.
    Nothing,
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
}

fn read(tally: &mut Tally, look: Look) -> (Reading, Option<String>) {
    match look {
        Ok(series) => (tally.read(&series).map_or(Reading::First, Reading::Counted), None),
        Err(why) => (Reading::Nothing, Some(why)),
    }
}
