//! The pipeline.
mod report;
pub use report::{Outcome, Report, StepReport};
