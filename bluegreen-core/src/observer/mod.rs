//! Watching a pipeline: the [`Observer`] trait and ready-made observers.

mod json_lines;
mod line_log;
#[cfg(feature = "progress")]
mod progress_display;

use std::fmt::Debug;
use std::sync::Arc;

use crate::event::Event;

pub use json_lines::JsonLines;
pub use line_log::LineLog;
#[cfg(feature = "progress")]
pub use progress_display::ProgressDisplay;

/// Is told each event as it happens, in order, from within the pipeline: it must return at once and must not fail.
pub trait Observer: Debug + Send + Sync + 'static {
    /// One event.
    fn observe(&self, event: &Event);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event) {
        (**self).observe(event);
    }
}

impl<T: Observer + ?Sized> Observer for Box<T> {
    fn observe(&self, event: &Event) {
        (**self).observe(event);
    }
}

/// An observer that calls a function.
///
/// ```
/// use bluegreen_core::observer;
///
/// let observer = observer::from_fn(|event| println!("{:?}", event.what));
/// # let _: &dyn observer::Observer = &observer;
/// ```
pub fn from_fn<F: Fn(&Event) + Send + Sync + 'static>(call: F) -> FromFn<F> {
    FromFn(call)
}

/// See [`from_fn`].
pub struct FromFn<F>(F);

impl<F> Debug for FromFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromFn")
    }
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for FromFn<F> {
    fn observe(&self, event: &Event) {
        (self.0)(event);
    }
}
