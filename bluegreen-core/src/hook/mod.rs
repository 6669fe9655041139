//! [`Hook`]: what a user has done at a place in an operation, as a step of it.
//!
//! A hook is an action; a [`HookStep`] gives it a name, a place and a time limit, and goes to
//! [`PipelineBuilder::hook`](crate::pipeline::PipelineBuilder::hook). It is journalled before and after as every step is, and
//! stands in the plan, in events and in the report.
//!
//! ```
//! use std::time::Duration;
//!
//! use bluegreen_core::hook::{CommandHook, HookStep};
//! use bluegreen_core::{Command, LocalHost, hook};
//! # use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! # use bluegreen_core::{Pipeline, Release};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
//! # let builder = Pipeline::builder("shop").runtime(runtime.clone()).router(router.clone()).store(MemoryStateStore::new());
//! # let builder = builder.health(MemoryHealth::new()).verify(MemoryPublic::new(&router, &runtime));
//! # let builder = builder.check_interval(Duration::from_millis(1));
//!
//! // Each slot has a cache of its own: that of the idle one is cleared before it gets traffic.
//! let clear = Command::script(r#"echo "FLUSHDB for $SLOT""#).called("clear the cache");
//! let clear = HookStep::before_first_shift("clear-cache", CommandHook::new(LocalHost::new(), clear))
//!     .repeatable(true)
//!     .timeout(Duration::from_secs(10));
//!
//! let tell = hook::from_fn("tell the team", async |call| {
//!     println!("{call}"); // deploy of shop 1.0 (blue) by ann: succeeded
//!     Ok(())
//! });
//! let pipeline = builder.hook(clear).hook(HookStep::after_success("tell", tell).in_background(true)).build()?;
//! println!("{}", pipeline.plan(&Release::new("1.0")?).await?);
//! pipeline.deploy(Release::new("1.0")?).await?;
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```

mod call;
mod command;
mod step;

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;

use crate::error::Result;
use crate::from_fn::FromFn;
pub use crate::state::{HookName, HookPlace};

pub use call::HookCall;
pub use command::CommandHook;
pub use step::{DEFAULT_TIMEOUT, HookStep};

/// Does something at a place in an operation: clears the cache of an idle slot, tells a chat, pauses a job queue.
///
/// # Contract
///
/// - It acts on nothing that the pipeline moves itself: slots, traffic, the record.
/// - It can be cut off at any await, when its time is over, when the operation is cancelled, and when the lease is lost. What
///   it has started ends then.
/// - It runs once per operation and place. Where its process died in it, nobody knows what it did: a recovery that goes on
///   past its place runs it again only if it is [repeatable](Self::is_repeatable).
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Hook: Debug + Display + Send + Sync + 'static {
    /// Does it. It has [`HookCall::timeout`] for that, and is cut off a little later.
    async fn run(&self, call: &HookCall) -> Result<()>;

    /// Whether it may run again after a death in it, because doing it twice is as good as once. Default: no.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// A hook that calls an async function. The name says in plans and errors what it does.
///
/// ```
/// use bluegreen_core::hook::{HookStep, from_fn};
///
/// let pause = from_fn("pause the nightly jobs", async |call| {
///     println!("no jobs while {} goes live", call.target.version());
///     Ok(())
/// });
/// let step = HookStep::before_first_shift("pause-jobs", pause).repeatable(true);
/// # let _ = step;
/// ```
pub fn from_fn<F, R>(name: impl Into<String>, run: F) -> FromFn<F>
where
    F: Fn(HookCall) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    FromFn { name: name.into(), call: run }
}

#[async_trait]
impl<F, R> Hook for FromFn<F>
where
    F: Fn(HookCall) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    async fn run(&self, call: &HookCall) -> Result<()> {
        (self.call)(call.clone()).await
    }
}
