//! Compose projects as blue and green slots, on any Docker engine.

mod build;
mod compose;
mod endpoint;
mod engine;
mod image;
mod labels;
mod migrator;
mod runtime;

pub use build::{BuiltImage, ImageBuild};
pub use engine::Engine;
pub use migrator::{ComposeMigrator, ComposeMigratorBuilder, DEFAULT_MIGRATION_LIMIT};
pub use runtime::{ComposeRuntime, ComposeRuntimeBuilder, DEFAULT_SETTLE, DEFAULT_START_DEADLINE, Pruned};
