//! [`FromFn`]: what the `from_fn` of health checks, gates, migrators and hooks return.

use std::fmt;

/// A function with a name, which stands in errors, events and logs.
pub struct FromFn<F> {
    pub(crate) name: String,
    pub(crate) call: F,
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FromFn({})", self.name)
    }
}

impl<F> fmt::Display for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
