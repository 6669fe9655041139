//! Watching over what was brought up, while it is waited for until it is healthy.

use bluegreen_core::{ErrorKind, Result, Slot, Target};
use futures::future::BoxFuture;

use super::readiness::Readiness;
use super::start_notes::StartNotes;
use super::watch::{Known, Watch};
use super::{ComposeRuntime, Inner};

pub(super) async fn supervise(
    runtime: &ComposeRuntime,
    target: &Target,
    healthy: BoxFuture<'_, Result<()>>,
) -> Result<()> {
    let inner = &*runtime.inner;
    let located = |error| runtime.located(error, || format!("watch {target}"));
    let known = match inner.brought_up.take(target) {
        Some(known) => known,
        None => kept(inner, target.slot).await.map_err(located)?,
    };
    let project = inner.name_of_project(target.slot);
    let mut watch = Watch::new(&inner.engine, &inner.compose.mask, project, known, inner.start_deadline);
    let mut waited = Ok(());
    let wait = async {
        waited = healthy.await;
        Ok(())
    };
    watch.supervise(wait, &inner.records, target.slot).await.map_err(located)?;
    match waited {
        Ok(()) => watch.is_well().await.map_err(located),
        Err(error) if error.kind() == ErrorKind::Timeout => Err(match watch.loops().await {
            Some(loops) => error.with("restarted", loops),
            None => error,
        }),
        failed => failed,
    }
}

/// Of a slot that another operation has started.
async fn kept(inner: &Inner, slot: Slot) -> Result<Known> {
    let mut found = inner.services(slot).await?;
    StartNotes::apply(&inner.records, slot, &mut found).await?;
    Known::new(&inner.engine, Readiness::of_kept(&found, &inner.wishes, inner.restarts_allowed)).await
}
