//! [`Continuity`]: whether cumulative counters are those of one process.

use std::collections::BTreeMap;
use std::fmt;

use crate::metric::Counters;

/// For so many readings after a fall a counter must go on from where it fell to, before that is taken for a restart. Two
/// processes that answer by chance look like one for as long once in 256 times; in turn, never.
const SETTLED_AFTER: u32 = 8;

/// Start times of one process may differ by this much, in seconds: they are computed from the clock's ticks.
const SAME_START: f64 = 1e-3;

/// Follows cumulative counters from reading to reading, and tells the restart of a process from several processes that
/// answer in turn: workers behind one address, replicas, a cache that goes back. Taken for restarts, these would count
/// requests that never happened.
///
/// A counter that falls is a restart when the process says that it started later than before, or when it falls once and
/// does not come back up to where it was. Anything else is [`Doubt::SeveralProcesses`], from then on.
///
/// ```
/// use bluegreen_core::{Continuity, Counters, Doubt};
///
/// let mut page = Continuity::default();
/// let mut read = |requests| page.read(&[("app".into(), Counters { requests, bad: 0 })].into(), None);
/// read(4000);
/// assert!(matches!(read(100).doubt, Some(Doubt::Restart { .. })));
/// assert_eq!(read(4010).doubt, Some(Doubt::SeveralProcesses));
/// ```
#[derive(Debug, Default)]
pub struct Continuity {
    started: Option<f64>,
    series: BTreeMap<String, Followed>,
    several: bool,
}

/// What one reading adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// By how much each series of the reading has grown; `None` for one that was never read before.
    pub grown: BTreeMap<String, Option<Counters>>,
    /// Why the counters cannot be trusted, if so.
    pub doubt: Option<Doubt>,
}

/// Why counters cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A counter fell, and it is too early to tell why. What has grown is right if it was a restart.
    Restart {
        /// After how many more readings it can be told.
        readings: u32,
    },
    /// Several processes answer.
    SeveralProcesses,
}

#[derive(Debug)]
struct Followed {
    last: Counters,
    fall: Option<Fall>,
}

/// A fall that nothing explains: from where, and for how many readings it has gone on since.
#[derive(Debug)]
struct Fall {
    from: Counters,
    readings: u32,
}

impl Continuity {
    /// Enters a reading, and when the process started, in seconds, where that is known (`process_start_time_seconds`).
    pub fn read(&mut self, reading: &BTreeMap<String, Counters>, started: Option<f64>) -> Growth {
        self.turn_to(started);
        let mut grown = BTreeMap::new();
        for (name, now) in reading {
            let more = match self.series.get_mut(name) {
                Some(series) => {
                    let (more, comes_back) = series.enter(*now);
                    self.several |= comes_back;
                    Some(more)
                }
                None => {
                    self.series.insert(name.clone(), Followed { last: *now, fall: None });
                    None
                }
            };
            grown.insert(name.clone(), more);
        }
        Growth { grown, doubt: self.doubt() }
    }

    /// Whether nothing was read yet.
    pub fn is_new(&self) -> bool {
        self.series.is_empty()
    }

    fn turn_to(&mut self, started: Option<f64>) {
        if let (Some(before), Some(now)) = (self.started, started)
            && !is_same_start(before, now)
        {
            self.several |= now < before;
            self.series.values_mut().for_each(|series| *series = Followed { last: Counters::default(), fall: None });
        }
        self.started = started.or(self.started);
    }

    fn doubt(&self) -> Option<Doubt> {
        if self.several {
            return Some(Doubt::SeveralProcesses);
        }
        let open = self.series.values().filter_map(|series| series.fall.as_ref());
        let readings = open.map(|fall| SETTLED_AFTER.saturating_sub(fall.readings)).max().filter(|left| *left > 0);
        readings.map(|readings| Doubt::Restart { readings })
    }
}

impl Followed {
    /// By how much it has grown, and whether it came back up, or fell again.
    fn enter(&mut self, now: Counters) -> (Counters, bool) {
        let before = std::mem::replace(&mut self.last, now);
        if now.requests < before.requests || now.bad < before.bad {
            let again = self.fall.replace(Fall { from: before, readings: 0 }).is_some();
            return (now, again);
        }
        let mut comes_back = false;
        if let Some(fall) = self.fall.as_mut().filter(|fall| fall.readings < SETTLED_AFTER) {
            comes_back = now.requests >= fall.from.requests && now.bad >= fall.from.bad;
            fall.readings += 1;
        }
        (Counters { requests: now.requests - before.requests, bad: now.bad - before.bad }, comes_back)
    }
}

/// Linux tells the boot time in whole seconds, which flips between two neighbours; clients add it up at each scrape.
fn is_same_start(before: f64, now: f64) -> bool {
    let apart = (now - before).abs();
    apart < SAME_START || (apart - 1.0).abs() < SAME_START
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart { readings } => {
                let s = if *readings == 1 { "" } else { "s" };
                write!(
                    f,
                    "a counter fell: {readings} more reading{s} will tell whether it was a restart, or several processes \
                     answer in turn"
                )
            }
            Self::SeveralProcesses => f.write_str("several processes answer here: aggregate them, or scrape each"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOGETHER: Option<Doubt> = Some(Doubt::SeveralProcesses);

    fn counters(requests: u64, bad: u64) -> Counters {
        Counters { requests, bad }
    }

    /// Reads one series again and again; each time with its start.
    fn doubts(readings: impl IntoIterator<Item = (u64, Option<f64>)>) -> Vec<Option<Doubt>> {
        let mut page = Continuity::default();
        let read = |(requests, started)| page.read(&[("a".to_owned(), counters(requests, 0))].into(), started).doubt;
        readings.into_iter().map(read).collect()
    }

    #[test]
    fn a_later_start_makes_a_restart_credible_at_once_however_often() {
        let mut page = Continuity::default();
        let mut read = |requests, started| page.read(&[("a".to_owned(), counters(requests, 0))].into(), Some(started));
        read(500, 10.0);
        for (requests, started) in [(7, 60.0), (700, 90.5), (3, 91.0)] {
            let growth = read(requests, started);
            assert_eq!((growth.grown["a"], growth.doubt), (Some(counters(requests, 0)), None));
        }
        assert_eq!(read(5, 60.0).doubt, TOGETHER, "the start goes back");
    }

    #[test]
    fn a_start_that_flips_by_a_second_is_no_restart() {
        let readings = [(500, 10.25), (501, 11.25), (502, 10.25), (510, 11.25)];
        assert_eq!(doubts(readings.map(|(requests, started)| (requests, Some(started)))), [None; 4]);
    }

    #[test]
    fn a_fall_that_stays_down_is_a_restart_once_it_has_settled() {
        let fallen = [(500, None)].into_iter().chain((0..10).map(|at| (3 + at, None)));
        let doubts = doubts(fallen);
        assert_eq!(doubts[1], Some(Doubt::Restart { readings: 8 }));
        assert_eq!(doubts[8], Some(Doubt::Restart { readings: 1 }));
        assert_eq!(doubts[9..], [None, None]);
    }

    #[test]
    fn a_second_fall_or_a_return_shows_several_processes_for_good() {
        let readings = |requests: &[u64]| doubts(requests.iter().map(|requests| (*requests, None))).pop().unwrap();
        assert_eq!(readings(&[500, 3, 501]), TOGETHER);
        assert_eq!(readings(&[500, 400, 450, 410]), TOGETHER);
        assert_eq!(readings(&[500, 3, 501, 502, 503]), TOGETHER);
        let start = Some(10.0);
        assert_eq!(doubts([(500, start), (400, start), (520, start)])[2], TOGETHER, "forked in the same moment");
    }

    #[test]
    fn each_series_is_followed_by_itself() {
        let mut page = Continuity::default();
        let reading = |a: (u64, u64), b: (u64, u64)| {
            [("a".to_owned(), counters(a.0, a.1)), ("b".to_owned(), counters(b.0, b.1))].into()
        };
        page.read(&reading((1000, 30), (500, 5)), None);
        let growth = page.read(&reading((7, 2), (510, 5)), None);
        assert_eq!(growth.grown["a"], Some(counters(7, 2)));
        assert_eq!(growth.grown["b"], Some(counters(10, 0)));
        let growth = page.read(&[("c".to_owned(), counters(9, 9))].into(), None);
        assert_eq!(growth.grown, [("c".to_owned(), None)].into());
    }

    proptest! {
        /// Two to six processes with counters of their own, of which some one answers each time.
        #[test]
        fn no_fall_is_passed_over_whoever_answers(
            bases in prop::collection::vec(0..5000_u64, 2..6),
            picks in prop::collection::vec(0..6_usize, 40),
        ) {
            let mut page = Continuity::default();
            let mut last = 0;
            for (at, pick) in picks.into_iter().enumerate() {
                let now = bases[pick % bases.len()] + at as u64;
                let doubt = page.read(&[("a".to_owned(), counters(now, 0))].into(), None).doubt;
                prop_assert!(doubt.is_some() || now >= last);
                last = now;
            }
        }

        #[test]
        fn one_process_without_a_restart_is_never_doubted(more in prop::collection::vec(0..1000_u64, 1..40)) {
            let mut sum = 0;
            let readings: Vec<_> = more.into_iter().map(|more| { sum += more; (sum, None) }).collect();
            prop_assert!(doubts(readings).iter().all(Option::is_none));
        }
    }
}
