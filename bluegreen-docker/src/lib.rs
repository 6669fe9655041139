//! Compose projects as blue and green slots, on any Docker engine.

mod compose;
mod endpoint;
mod engine;
mod image;
mod labels;
mod runtime;

pub use engine::Engine;
pub use runtime::{ComposeRuntime, ComposeRuntimeBuilder, DEFAULT_SETTLE, DEFAULT_START_DEADLINE, Pruned};
