//! Traits and a crash-safe pipeline for blue-green and canary deploys on plain servers.
//!
//! A service has two slots, blue and green. One is live; a new release is brought up in the other one, tested there
//! without traffic, and then given the traffic, at once or step by step. [`Pipeline`] does that over any adapters:
//!
//! | trait | what it is | adapters here |
//! |---|---|---|
//! | [`Runtime`] | what runs in the slots | [`memory::MemoryRuntime`] |
//! | [`Router`] | who gets the traffic | [`memory::MemoryRouter`] |
//! | [`StateStore`] | where record, lease and journal are kept | [`FileStateStore`], [`HostStateStore`], [`memory::MemoryStateStore`] |
//! | [`HealthCheck`] | health, smoke tests, the public address | [`memory::MemoryHealth`], [`memory::MemoryPublic`] |
//! | [`Migrator`] | changes to the data that both versions share | |
//! | [`Gate`] | judgements on live metrics | [`gates::RateGate`] over a [`MetricSource`] |
//! | [`Hook`] | what is done besides, as a step of its own | [`hook::CommandHook`], [`hook::from_fn`] |
//! | [`Host`] | where commands run and files live | [`LocalHost`] |
//!
//! ```
//! use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! use bluegreen_core::{Pipeline, Release};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
//! let pipeline = Pipeline::builder("shop")
//!     .runtime(runtime.clone())
//!     .router(router.clone())
//!     .store(MemoryStateStore::new())
//!     .health(MemoryHealth::new())
//!     .verify(MemoryPublic::new(&router, &runtime))
//!     .build()?;
//!
//! pipeline.deploy(Release::new("1.0")?).await?;
//! let report = pipeline.deploy(Release::new("1.1")?).await?;
//! println!("{report}");
//!
//! // A version that is live is refused, and nothing is changed.
//! let error = pipeline.deploy(Release::new("1.1")?).await.unwrap_err();
//! assert!(error.to_string().contains("1.1 is live already, in green"));
//!
//! // The old release is still warm.
//! pipeline.rollback().await?;
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```
//!
//! [`Pipeline`] documents what a pipeline guarantees, and each trait what its adapters must guarantee. Mocks, fault injection and
//! the conformance suites are in the module `testing` (feature `test-util`). The display for terminals is
//! `observer::ProgressDisplay` (feature `progress`).

mod command_check;
mod command_variables;
mod continuity;
pub mod durable;
pub mod event;
pub mod fleet;
pub mod gates;
pub mod hook;
pub mod host;
pub mod memory;
pub mod observer;
pub mod pipeline;
pub mod procfs;
pub mod state;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

mod changed_file;
mod digest;
mod duration_text;
mod error;
mod file_store;
mod from_fn;
pub mod gate;
pub mod health;
mod host_store;
mod log_lines;
mod log_matches;
mod log_stream;
mod metric;
pub mod migrator;
mod ownership;
mod preview;
mod probe;
mod process_id;
mod report;
mod router;
mod runtime;
mod state_file;
mod store;
mod types;

pub use changed_file::changed_file;
pub use command_check::CommandCheck;
pub use continuity::{Continuity, Doubt, Growth};
pub use digest::{hex, sha256_hex};
pub use duration_text::parse_duration;
pub use error::{Effect, Error, ErrorKind, Reason, Result};
pub use event::Event;
pub use file_store::FileStateStore;
pub use fleet::Fleet;
pub use from_fn::FromFn;
pub use gate::{Gate, Verdict, Window};
pub use health::{Health, HealthCheck};
pub use hook::{Hook, HookCall, HookStep};
pub use host::{Command, Host, LocalHost, Output, Tunnel};
pub use host_store::HostStateStore;
pub use log_lines::telling_lines;
pub use log_matches::{DEFAULT_LOG_LINES, LogMatches};
pub use log_stream::{FOLLOW_INTERVAL, FOLLOW_LINES};
pub use metric::{Counters, MetricSource, Sample};
pub use migrator::{Migrator, Phase, When};
pub use observer::Observer;
pub use ownership::{MARK, Ownership};
pub use pipeline::Pipeline;
pub use preview::Preview;
pub use process_id::ProcessId;
pub use report::{MemberReport, Report, StepReport};
pub use router::{Granularity, Router, SLOT_HEADER, VERSION_HEADER, split_changed};
pub use runtime::{Runtime, Stopped};
pub use store::{Revision, StateStore, Versioned};
/// What cancels a pipeline gracefully; see [`pipeline::PipelineBuilder::cancel_on`].
pub use tokio_util::sync::CancellationToken;
pub use types::{
    Clock, Endpoint, Instance, Mask, MemberName, OperationId, PerSlot, Progress, Release, Secret, ServiceName, Slot,
    Split, SystemClock, Target, Timestamp, Version, host_port,
};
