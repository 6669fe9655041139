//! Random sequences of verbs by two deployers, under random faults, with machines, releases and the router changing behind
//! their backs, deaths within recoveries, and lost records: the invariants hold at every call, each recovery brings what it
//! took over to an end, and from every state that is reached, verbs lead back to one slot with all traffic.
//!
//! 10,000 cases by default; 1,000,000 with `BLUEGREEN_FULL=1`. `BLUEGREEN_SEED` repeats a run, whose seed is printed.

mod case;
mod drift;
mod run;
mod stage;
mod way_out;

use case::cases;

use crate::schedules::play;

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_1() {
    play(0, &cases(), run::run);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_2() {
    play(1, &cases(), run::run);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_3() {
    play(2, &cases(), run::run);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_4() {
    play(3, &cases(), run::run);
}
