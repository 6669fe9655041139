use std::fmt;
use std::sync::Arc;

type Sink = dyn Fn(&str, u64, Option<u64>) + Send + Sync;

/// A handle through which an adapter says how far it is; cheap to clone, never blocks, never fails.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Sink>>);

impl Progress {
    /// Nobody watches.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Calls `sink(what, done, total)` for each report.
    pub fn new(sink: impl Fn(&str, u64, Option<u64>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Reports that `done` bytes of `total` (where known) of `what` are through.
    pub fn bytes(&self, what: &str, done: u64, total: Option<u64>) {
        if let Some(sink) = &self.0 {
            sink(what, done, total);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(watched)" } else { "Progress(none)" })
    }
}
