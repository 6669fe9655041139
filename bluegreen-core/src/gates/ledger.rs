//! What a gate remembers of one operation: counts of its present step, and of all its steps together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::gate::Window;
use crate::gates::comparison::{Comparison, Pair};
use crate::gates::decision::Rules;
use crate::gates::evidence::{AboveLimit, Trouble};
use crate::gates::tally::{Sum, Tally};
use crate::metric::{Counters, Sample};
use crate::types::{OperationId, Slot, Version};

/// Counts since some beginning: the step's or the operation's.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// What the new slot counted.
    pub(super) new: Counters,
    /// What both slots counted at the same time.
    pub(super) compared: Comparison,
    /// Whether the old slot was above the limit at some time.
    pub(super) old_trouble: Trouble,
}

impl Scope {
    fn compare(&mut self, interval: Pair, span: Duration, above: &AboveLimit) {
        self.compared.add(interval, span);
        self.old_trouble.add(above, interval.old);
    }
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
    /// The number of the present step, from 1.
    pub(super) steps: u32,
    pub(super) operation: Scope,
    pub(super) step: Scope,
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
            steps: 1,
            operation: Scope::default(),
            step: Scope::default(),
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
            self.steps = before.steps.saturating_add(1);
            self.operation = before.operation;
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
        self.operation.new.add(counted.new);
        self.step.new.add(counted.new);
        if compared {
            self.pair(&rules.above, counted, [&new, &old], elapsed);
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
            self.operation.compare(interval, span, above);
            self.step.compare(interval, span, above);
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
