//! Child-process runtime and embedded reverse proxy for blue-green deploys.

mod process;

pub use process::{ProcessRuntime, ProcessRuntimeBuilder};
