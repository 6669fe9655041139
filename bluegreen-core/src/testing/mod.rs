//! For unit-testing one's own pipeline and one's own adapters (feature `test-util`).
//!
//! - [`ScriptedHealth`], [`ScriptedGate`] and [`RecordingMigrator`] answer as they are told;
//! - [`Faulty`] wraps any adapter, in memory or real, and injects [`Fault`]s by a schedule of call numbers;
//! - [`CallLog`] records every call that passes a [`Faulty`] or a recording mock, to assert the order;
//! - [`conformance`] has one suite per trait, for the tests of adapters;
//! - [`part_is_here`] skips a test whose real part is missing, loudly, or fails it where everything is required;
//! - [`sample`] draws some of many cases, with a seed that is printed, and takes all with `BLUEGREEN_FULL=1`;
//! - [`test_process`] runs a test of the same binary in a process of its own;
//! - [`PausedClock`] makes absolute time follow tokio's paused clock.
//!
//! A test of one's own pipeline, complete:
//!
//! ```
//! use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! use bluegreen_core::testing::{Fault, Faults, Faulty};
//! use bluegreen_core::{Pipeline, Release, Slot};
//!
//! # async fn a_start_that_fails_leaves_the_live_slot_untouched() -> bluegreen_core::Result<()> {
//! let (runtime, router, faults) = (MemoryRuntime::new(), MemoryRouter::new(), Faults::new());
//! let pipeline = Pipeline::builder("shop")
//!     .runtime(Faulty::new(runtime.clone(), &faults))
//!     .router(router.clone())
//!     .store(MemoryStateStore::new())
//!     .health(MemoryHealth::new())
//!     .verify(MemoryPublic::new(&router, &runtime))
//!     .build()?;
//! pipeline.deploy(Release::new("1")?).await?;
//!
//! faults.on("runtime.start", Fault::Fail);
//! let error = pipeline.deploy(Release::new("2")?).await.unwrap_err();
//!
//! assert_eq!(error.report().unwrap().outcome.word(), "aborted");
//! assert_eq!(router.split().unwrap().sole(), Some(Slot::Blue));
//! assert!(runtime.instance(Slot::Blue).is_running());
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(a_start_that_fails_leaves_the_live_slot_untouched()).unwrap();
//! ```

pub mod conformance;

mod call_log;
mod faults;
mod faulty;
mod hostile_words;
mod part;
mod paused_clock;
mod recording_migrator;
mod sample;
mod scripted;
mod test_process;

pub use call_log::CallLog;
pub use faults::{Fault, Faults};
pub use faulty::Faulty;
pub use hostile_words::HOSTILE_WORDS;
pub use part::part_is_here;
pub use paused_clock::PausedClock;
pub use recording_migrator::RecordingMigrator;
pub use sample::{is_full_run, run_seed, sample};
pub use scripted::{ScriptedGate, ScriptedHealth};
pub use test_process::test_process;
