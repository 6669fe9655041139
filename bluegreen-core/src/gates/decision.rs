//! From counts to a verdict: a pure function.

use crate::gate::{Verdict, Window};
use crate::gates::comparison::Pair;
use crate::gates::dispersion::Dispersion;
use crate::gates::evidence::log_threshold;
use crate::gates::ledger::{Distrust, Ledger, Scope};
use crate::gates::rules::Rules;
use crate::gates::wording::{grouped, percent, seconds};

/// The routing guard's chi-squared with one degree of freedom: a share as far off comes by chance once in 1,000 times.
const ROUTING_CHI_SQUARED: f64 = 10.8;

/// ... and the share must be off by more than this part of it, since no router is exact over a short time.
const ROUTING_TOLERANCE: f64 = 0.25;

/// ... and there must be enough requests for the chi-squared to hold at all: Cochran's rule of five per cell.
const ROUTING_EXPECTED: f64 = 5.0;

/// The log evidence from which on the old slot is suspected of being above the limit too: above what a slot within its
/// limit shows most of the time, below what two bad requests in a row show.
const SUSPICION: f64 = 1.0;

/// What is taken for the [swing](Dispersion::swing) at least. The bound of the test holds while each block's mean is within
/// the limit; rates that are within it on average rise above it for minutes. Where errors are independent, this costs
/// half as many requests again.
const ASSUMED_SWING: f64 = 1.5;

/// What the counts of one scope say about the release.
#[derive(Clone)]
enum Finding {
    /// Nothing speaks against it so far.
    NotShown,
    /// It fails the test.
    Bad(String),
    /// It is above the limit, and for all that is known the old slot may be so too.
    Unclear,
    /// Both slots are, or have been, above the limit.
    Unhealthy,
}

impl Finding {
    fn reason(self) -> Option<String> {
        match self {
            Self::Bad(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Judges what the ledger holds.
pub(super) fn decide(rules: &Rules, ledger: &Ledger, window: &Window) -> Verdict {
    if let Some(Distrust::ForGood(reason)) = &ledger.distrust {
        return Verdict::Hold { reason: reason.clone() };
    }
    if let Some(why) = &ledger.missed_why {
        return unread(rules, ledger, window, why);
    }
    if let Some(Distrust::ForNow(why)) = &ledger.distrust {
        return Verdict::Undecided { needs: format!("needs counters that can be trusted; {why}") };
    }
    let budget = Budget::new(rules, ledger, window);
    let overall = rules.find(&ledger.operation, "", &budget, budget.operation);
    // The first stretch has seen nothing but what the operation has seen.
    let present = match ledger.stretches {
        1 => overall.clone(),
        _ => rules.find(&ledger.stretch, "the last ", &budget, budget.stretch),
    };
    let failed = rules.damage(ledger.seen).or_else(|| [overall, present.clone()].into_iter().find_map(Finding::reason));
    if let Some(reason) = failed {
        return Verdict::Fail { reason: note_baseline(reason, ledger) };
    }
    if let Some(reason) = rules.held(ledger, window, &present) {
        return Verdict::Hold { reason };
    }
    rules.weigh(ledger, window, &budget, &present)
}

/// How the probability of a false alarm is spent, so that all tests together keep within it.
struct Budget {
    /// For each test of the counts of the whole operation.
    operation: f64,
    /// For each test of the counts of the present stretch.
    stretch: f64,
    /// For a false pass.
    pass: f64,
    /// What the evidence for a pass is divided by.
    dispersion: f64,
    /// What the evidence that the limit is exceeded is divided by.
    swing: f64,
}

impl Budget {
    fn new(rules: &Rules, ledger: &Ledger, window: &Window) -> Self {
        let gates = window.gates.max(1) as f64;
        // With a baseline a release can fail by the limit and by the comparison.
        let tests = if ledger.has_baseline { 2.0 } else { 1.0 };
        let half = rules.alpha / gates / tests / 2.0;
        // 1/(1*2) + 1/(2*3) + 1/(3*4) + ... = 1: however many stretches follow the first, they spend no more than the
        // other half.
        let number = f64::from(ledger.stretches);
        let share = if ledger.stretches > 1 { 1.0 / (number * (number - 1.0)) } else { 1.0 };
        Self {
            operation: half,
            stretch: half * share,
            pass: rules.beta / gates,
            // Not the new slot's own: a release that turns bad swings, too.
            swing: ledger.dispersion[1].swing().max(ASSUMED_SWING),
            dispersion: ledger.dispersion.iter().map(Dispersion::estimate).fold(1.0, f64::max),
        }
    }
}

impl Rules {
    fn find(&self, scope: &Scope, which: &str, budget: &Budget, alpha: f64) -> Finding {
        let Pair { new, old } = scope.compared.total();
        let within_limit = self.below.log_evidence(scope.new) >= log_threshold(budget.pass);
        if scope.compared.log_evidence() >= log_threshold(alpha) && !within_limit {
            let (new, old) = (self.unit.counted(new, which), self.unit.of(old));
            return Finding::Bad(format!(
                "worse than the old slot: {new}, and {old} of the old slot's at the same time"
            ));
        }
        if scope.above.log_evidence() < budget.swing * log_threshold(alpha) {
            return Finding::NotShown;
        }
        if scope.old_trouble.highest() >= log_threshold(alpha) {
            Finding::Unhealthy
        } else if old.requests > 0 && (scope.old_trouble.now() > SUSPICION || !scope.compared.seems_worse()) {
            Finding::Unclear
        } else {
            let old =
                if old.requests > 0 { format!("; of the old slot's {}", self.unit.of(old)) } else { String::new() };
            let new = self.unit.counted(scope.new, which);
            Finding::Bad(format!("{new}, the limit is {}{old}", self.unit.limit(self.limit)))
        }
    }

    /// More bad requests than may be suffered, whatever the statistics say.
    fn damage(&self, seen: Pair) -> Option<String> {
        let excess = self.damage_cap?.exceeded(self.limit, seen)?;
        Some(format!("{}, {excess}", self.unit.counted(seen.new, "")))
    }

    /// Why the release cannot be judged at all.
    fn held(&self, ledger: &Ledger, window: &Window, present: &Finding) -> Option<String> {
        let compared = ledger.step.both;
        if matches!(present, Finding::Unhealthy) {
            let (new, old) = (self.unit.counted(compared.new, ""), self.unit.of(compared.old));
            let limit = self.unit.limit(self.limit);
            return Some(format!(
                "the environment is unhealthy, not the release: {new}, and {old} of the old slot's; the limit is {limit}"
            ));
        }
        if self.routing_guard {
            let share = f64::from(window.split.share(window.target.slot)) / 100.0;
            if let Some(observed) = misrouted(compared, share) {
                return Some(format!(
                    "the router does not do what it says: the new slot got {} ({}) of the {} requests of both slots, \
                     its share is {}",
                    grouped(compared.new.requests),
                    percent((observed * 1000.0).round() / 1000.0),
                    grouped(compared.new.requests + compared.old.requests),
                    percent(share)
                ));
            }
        }
        (ledger.step.new.requests == 0).then(|| self.overdue(window)).flatten()
    }

    /// Pass, or what is missing.
    fn weigh(&self, ledger: &Ledger, window: &Window, budget: &Budget, present: &Finding) -> Verdict {
        let new = ledger.step.new;
        if !ledger.counting {
            let left = seconds(self.warm_up.saturating_sub(window.elapsed));
            let needs = format!("needs the warm-up of {} to end, {left} are left", seconds(self.warm_up));
            return Verdict::Undecided { needs };
        }
        // The evidence is divided by the dispersion, on the other side.
        let enough = budget.dispersion * log_threshold(budget.pass);
        if self.below.log_evidence(new) >= enough && new.requests > 0 {
            let evidence = format!("{}, the limit is {}", self.unit.counted(new, ""), self.unit.limit(self.limit));
            return Verdict::Pass { evidence: note_baseline(evidence, ledger) };
        }
        let so_far = self.unit.counted(new, "");
        let needs = match present {
            Finding::Unclear => format!(
                "needs more requests to tell the release from its environment; so far {so_far}, of the old slot's {}",
                self.unit.of(ledger.step.both.old)
            ),
            _ => {
                let missing = self.below.requests_to_reach(new.bad, enough).saturating_sub(new.requests);
                let missing = self.unit.missing(missing);
                if new.requests > 0 {
                    format!("{missing}; so far {so_far}")
                } else {
                    format!("{missing}; so far none came")
                }
            }
        };
        Verdict::Undecided { needs: note_baseline(needs, ledger) }
    }

    /// Set once the time is over by which there must have been traffic.
    fn overdue(&self, window: &Window) -> Option<String> {
        let deadline = self.require_traffic_by?;
        let waited = window.elapsed.saturating_sub(self.warm_up);
        (waited > deadline).then(|| format!("no request was counted on the new slot within {}", seconds(deadline)))
    }
}

fn note_baseline(text: String, ledger: &Ledger) -> String {
    match &ledger.old_missed_why {
        Some(why) => format!("{text} (without the old slot, which could not be read: {why})"),
        None => text,
    }
}

/// The new slot could not be read this time: whatever was seen before, that is no pass.
fn unread(rules: &Rules, ledger: &Ledger, window: &Window, why: &str) -> Verdict {
    let times = match ledger.missed {
        0 | 1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    let problem = format!("the new slot's metrics could not be read{times}: {why}");
    match rules.overdue(window).filter(|_| ledger.step.new.requests == 0) {
        Some(overdue) => Verdict::Hold { reason: format!("{overdue}; {problem}") },
        None => Verdict::Undecided { needs: format!("needs a reading; {problem}") },
    }
}

/// The new slot's observed share, if it is neither what `share` says nor within reach of chance.
fn misrouted(counts: Pair, share: f64) -> Option<f64> {
    let smaller = share.min(1.0 - share);
    let all = counts.new.requests as f64 + counts.old.requests as f64;
    if all * smaller < ROUTING_EXPECTED {
        return None;
    }
    let observed = counts.new.requests as f64 / all;
    let chi_squared = (observed - share).powi(2) * all / (share * (1.0 - share));
    let off = (observed - share).abs() > ROUTING_TOLERANCE * smaller;
    (chi_squared > ROUTING_CHI_SQUARED && off).then_some(observed)
}
