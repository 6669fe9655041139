//! Adapters that live in memory: for examples, and for unit-testing one's own pipeline.
//!
//! They keep the contracts of their traits (the conformance suites run on them), and clones share their content, so a
//! test can hold one end and look, or meddle, while a pipeline works on the other.

mod health;
mod router;
mod runtime;
mod store;

pub use health::{MemoryHealth, MemoryPublic};
pub use router::MemoryRouter;
pub use runtime::MemoryRuntime;
pub use store::MemoryStateStore;
