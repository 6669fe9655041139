use std::fmt::{Debug, Display};
use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::error::{Effect, Error, ErrorKind, Reason, Result};
use crate::types::ServiceName;

/// A step that takes longer than this is announced: a suite on real parts takes minutes, one in memory nobody needs to watch.
const SILENCE: Duration = Duration::from_secs(2);

/// Does the steps of a suite in their order, under the names of their functions.
macro_rules! steps {
    ($suite:ident: $($step:ident,)+) => {
        $($suite.contract.during(stringify!($step), $suite.$step()).await;)+
    };
}
pub(super) use steps;

/// The name of a service that no fixture has.
pub(super) fn another_service(contract: &Contract) -> ServiceName {
    let name = "another-service";
    ServiceName::new(name).unwrap_or_else(|error| contract.broken("the suite uses valid names", error))
}

/// The contract of one adapter; panics name the adapter and the clause.
#[derive(Debug, Clone)]
pub(super) struct Contract {
    adapter: String,
}

impl Contract {
    pub(super) fn of(adapter: &impl Display) -> Self {
        let adapter = adapter.to_string();
        assert!(!adapter.trim().is_empty(), "the contract is broken: Display names the adapter; it prints nothing");
        Self { adapter }
    }

    /// Does one step of a suite. One that takes long is named on standard error, past the capture of test output.
    pub(super) async fn during<T>(&self, step: &str, work: impl Future<Output = T>) -> T {
        let (step, mut work, started) = (step.replace('_', " "), Box::pin(work), Instant::now());
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(SILENCE) => {}
        }
        // Not where the clock is paused, on which two seconds pass at once.
        let is_slow = started.elapsed() >= SILENCE;
        if is_slow {
            self.tell(&format!("{step} ..."));
        }
        let done = work.await;
        if is_slow {
            self.tell(&format!("{step}: ok, {} s", started.elapsed().as_secs()));
        }
        done
    }

    fn tell(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "conformance of {}: {text}", self.adapter);
    }

    #[track_caller]
    pub(super) fn broken(&self, clause: &str, found: impl Display) -> ! {
        panic!("the contract of {} is broken: {clause}; found: {found}", self.adapter)
    }

    /// The clause holds if the condition does; `found` says what is the case.
    #[track_caller]
    pub(super) fn holds(&self, clause: &str, condition: bool, found: impl Debug) {
        if !condition {
            self.broken(clause, format!("{found:?}"));
        }
    }

    #[track_caller]
    pub(super) fn same<T: PartialEq + Debug>(&self, clause: &str, found: T, wanted: T) {
        if found != wanted {
            self.broken(clause, format!("{found:?} instead of {wanted:?}"));
        }
    }

    /// The call must succeed.
    #[track_caller]
    pub(super) fn ok<T>(&self, clause: &str, result: Result<T>) -> T {
        result.unwrap_or_else(|error| self.broken(clause, error.chain()))
    }

    /// The call must be refused with one of these kinds.
    #[track_caller]
    pub(super) fn refused<T: Debug>(&self, clause: &str, result: Result<T>, kinds: &[ErrorKind]) -> Error {
        match result {
            Ok(value) => self.broken(clause, format!("success: {value:?}")),
            Err(error) if kinds.contains(&error.kind()) => error,
            Err(error) => {
                self.broken(clause, format!("an error that is {} and not {kinds:?}: {error:?}", error.kind()))
            }
        }
    }

    /// The call must be refused because the place is another service's.
    #[track_caller]
    pub(super) fn is_anothers<T: Debug>(&self, what: &str, result: Result<T>) {
        let clause = format!("of two services on one place the second is refused: {what}");
        let error = self.refused_unapplied(&clause, result, &[ErrorKind::Conflict]);
        if error.reason() != Some(Reason::OtherService) {
            self.broken(&clause, format!("an error that does not say so by its reason: {error:?}"));
        }
    }

    /// The call must be refused with one of these kinds, and say that it changed nothing.
    #[track_caller]
    pub(super) fn refused_unapplied<T: Debug>(&self, clause: &str, result: Result<T>, kinds: &[ErrorKind]) -> Error {
        let error = self.refused(clause, result, kinds);
        if error.effect() != Effect::NotApplied {
            self.broken(clause, format!("an error that does not say that nothing changed: {error:?}"));
        }
        error
    }
}
