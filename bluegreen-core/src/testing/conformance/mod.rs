//! One suite per trait, for the tests of every adapter.
//!
//! A suite tests the contract that is written on the trait, against the real thing. It gets a fixture: the adapter, a
//! way to open a second handle on the same system (as the next deployer process would), and an *oracle*: a way to see,
//! past the trait, what is really the case. A real request tells which slot answers, whatever the router says.
//!
//! A suite panics at the first clause that does not hold, with the clause, the adapter and what was found instead. What
//! an adapter legitimately cannot do is said by its fixture, whose optional methods all say so by default. On real parts a
//! suite takes minutes; each step that takes longer than two seconds is named on standard error.
//!
//! ```
//! use bluegreen_core::memory::MemoryStateStore;
//! use bluegreen_core::testing::conformance::{self, StateStoreFixture};
//!
//! struct Memory(MemoryStateStore);
//!
//! #[async_trait::async_trait]
//! impl StateStoreFixture for Memory {
//!     type Store = MemoryStateStore;
//!
//!     async fn open(&self) -> MemoryStateStore {
//!         self.0.clone()
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! conformance::state_store(&Memory(MemoryStateStore::new())).await;
//! # });
//! ```

mod another_process;
mod contract;
mod cut_off;
mod gate;
mod health_check;
mod host;
mod migrator;
mod router;
mod runtime;
mod state_store;

pub use another_process::{ProcessEnd, as_another_process, in_another_process};
pub use cut_off::CutOff;
pub use gate::{GateFixture, gate};
pub use health_check::{HealthCheckFixture, health_check};
pub use host::{HostFixture, host};
pub use migrator::{MigratorFixture, migrator};
pub use router::{HeldRequest, RouterFixture, router};
pub use runtime::{RuntimeFixture, runtime};
pub use state_store::{StateStoreFixture, state_store};

#[cfg(test)]
mod tests;
