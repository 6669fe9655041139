//! The gates that come with this crate. [`RateGate`] judges a release by counters of requests and of bad requests.
//!
//! The judgement is anytime-valid: it may be asked after every request or once an hour without its error probability
//! growing. [`AboveLimit`] and [`BelowLimit`] are the two tests it is made of, for gates of one's own.
//!
//! ```
//! use bluegreen_core::Counters;
//! use bluegreen_core::gates::{BelowLimit, PASS_GRID, log_threshold};
//!
//! // At most 0.1 % may fail. 2,300 requests, one of them bad: how many more does a verdict need?
//! let test = BelowLimit::new(0.001, &PASS_GRID)?;
//! let counts = Counters { requests: 2300, bad: 1 };
//! assert!(test.log_evidence(counts) < log_threshold(0.05));
//! assert_eq!(test.requests_to_pass(counts.bad, 0.05) - counts.requests, 4408);
//! # Ok::<(), bluegreen_core::Error>(())
//! ```

mod block;
mod builder;
mod comparison;
mod damage;
mod decision;
mod dispersion;
mod evidence;
mod history;
mod ledger;
mod rate_gate;
mod rules;
mod tally;
#[cfg(test)]
mod tests;
mod unit;
mod wording;

pub use builder::{
    BadRequests, DEFAULT_ERROR_LIMIT, DEFAULT_ERROR_PROBABILITY, DEFAULT_LIMIT_PER_MINUTE, DEFAULT_SLOW_LIMIT,
    DEFAULT_WARM_UP, RateGateBuilder,
};
pub use damage::DEFAULT_DAMAGE_CAP;
pub use evidence::{AboveLimit, BelowLimit, FAIL_GRID, PASS_GRID, PASS_GRID_LATENCY, log_threshold};
pub use rate_gate::RateGate;
