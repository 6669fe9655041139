//! The suites on this crate's adapters, and on adapters that are broken on purpose: each suite notices.

mod broken;
mod gates;
mod hosts;
mod memory;
mod migrators;
mod stores;
