//! Traits and a crash-safe pipeline for blue-green and canary deploys on plain servers.

pub mod durable;
pub mod event;
pub mod gates;
pub mod host;
pub mod memory;
pub mod observer;
pub mod pipeline;
pub mod state;

mod error;
mod file_store;
mod gate;
mod health;
mod host_store;
mod metric;
mod migrator;
mod router;
mod runtime;
mod state_file;
mod store;
#[cfg(feature = "test-util")]
pub mod testing;
mod types;

pub use error::{Effect, Error, ErrorKind, Result};
pub use event::Event;
pub use file_store::FileStateStore;
pub use gate::{Gate, Verdict, Window};
pub use health::{Health, HealthCheck};
pub use host::{Command, Host, LocalHost, Output, Tunnel};
pub use host_store::HostStateStore;
pub use metric::{Counters, MetricSource, Sample};
pub use migrator::{Migrator, Phase, When};
pub use observer::Observer;
pub use pipeline::Pipeline;
pub use router::{Granularity, Router};
pub use runtime::Runtime;
pub use store::{Revision, StateStore, Versioned};
pub use types::{
    Clock, Endpoint, Instance, OperationId, Progress, Release, Secret, ServiceName, Slot, Split, SystemClock, Target,
    Timestamp, Version,
};
