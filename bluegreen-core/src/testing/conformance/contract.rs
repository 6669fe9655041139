use std::fmt::{Debug, Display};

use crate::error::{Effect, Error, ErrorKind, Result};

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
