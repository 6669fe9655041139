//! What the runtimes of releases in slots share: settings, places, environments and the scripts for them.

mod builder;
mod runner;
mod settings;

pub(crate) use builder::{SlotsBuilder, slots_setters};
pub(crate) use runner::Slots;
pub(crate) use runner::{LOG_LINES, NO_RELEASE, WATCH, hundredths, last_lines, settings_digest};
pub use settings::DEFAULT_PORTS;
pub(crate) use settings::SlotSettings;
