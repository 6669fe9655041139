use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shared list of calls, in the order they were made. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CallLog(Arc<Mutex<Vec<String>>>);

impl CallLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a call: `runtime.start green 2.0`.
    pub fn record(&self, call: impl Into<String>) {
        self.lock().push(call.into());
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The calls that begin with one of the prefixes.
    pub fn calls_of(&self, prefixes: &[&str]) -> Vec<String> {
        let wanted = |call: &String| prefixes.iter().any(|prefix| call.starts_with(prefix));
        self.lock().iter().filter(|call| wanted(call)).cloned().collect()
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Asserts that calls with these prefixes were made in this order, with any others in between.
    ///
    /// # Panics
    /// When they were not; the message shows all calls and the first prefix that is missing.
    #[track_caller]
    pub fn assert_order(&self, prefixes: &[&str]) {
        let calls = self.calls();
        let mut rest = calls.iter();
        for prefix in prefixes {
            assert!(
                rest.any(|call| call.starts_with(prefix)),
                "no call `{prefix}` in its place among:\n  {}",
                calls.join("\n  ")
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
