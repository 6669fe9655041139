//! Hooks that nothing waits for.

use tokio::task::JoinSet;

use super::reporter::Reporter;
use crate::error::Result;
use crate::state::Step;

/// The hooks that still run. They end with the operation's future, as its other work does.
#[derive(Default)]
pub(super) struct Background {
    running: JoinSet<(Step, Result<()>)>,
}

impl Background {
    /// Starts one. It has to end by itself.
    pub(super) fn start(&mut self, step: Step, hook: impl Future<Output = Result<()>> + Send + 'static) {
        self.running.spawn(async move { (step, hook.await) });
    }

    /// Waits until all have ended, and notes those that failed.
    pub(super) async fn end(&mut self, reporter: &Reporter) {
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((step, Err(error))) => reporter.note(format!("{step} failed in the background: {}", error.chain())),
                Err(panicked) => reporter.note(format!("a hook failed in the background: {panicked}")),
            }
        }
    }
}
