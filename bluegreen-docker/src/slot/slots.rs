//! [`Slots`]: what every runtime of this crate knows of its two slots.

use std::collections::BTreeSet;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Instance, Mask, Ownership, PerSlot, Reason, Result, ServiceName, Slot, Target};
use futures::future::BoxFuture;

use super::brought_up::BroughtUp;
use super::container::{Container, containers_of};
use super::group::Group;
use super::owner::is_ours;
use super::readiness::Readiness;
use super::records::StateDirectory;
use super::start_notes::StartNotes;
use super::watch::{Known, Watch};
use crate::engine::Engine;

/// Default for how long a start may take in all: 5 minutes, because some frameworks take minutes.
pub const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The two slots of a service on an engine.
pub(crate) struct Slots {
    pub(crate) service: ServiceName,
    pub(crate) ownership: Ownership,
    pub(crate) groups: PerSlot<Group>,
    pub(crate) engine: Engine,
    /// Hides what was given as secrets.
    pub(crate) mask: Mask,
    pub(crate) stabilization_time: Duration,
    pub(crate) start_deadline: Duration,
    pub(crate) restarts_allowed: Option<u32>,
    pub(crate) accept_changed_content: bool,
    /// What each version was prepared with, and the last logs.
    pub(crate) records: StateDirectory,
    pub(crate) brought_up: BroughtUp,
}

impl Slots {
    /// The containers that serve in a slot; a `Conflict` where they are another service's.
    pub(crate) async fn services(&self, slot: Slot) -> Result<Vec<Container>> {
        let group = &self.groups[slot];
        let mut found = containers_of(&self.engine, group).await?;
        is_ours(&found, &self.service, group)?;
        found.retain(|container| !container.is_one_off);
        Ok(found)
    }

    /// The same for a look at them: what a start has forgiven is marked as such.
    pub(crate) async fn accepted(&self, slot: Slot) -> Result<Vec<Container>> {
        let mut found = self.services(slot).await?;
        StartNotes::apply(&self.records, slot, &mut found).await?;
        Ok(found)
    }

    /// Refuses what is for another service.
    pub(crate) fn is_for_us(&self, target: &Target) -> Result<()> {
        match target.service == self.service {
            true => Ok(()),
            false => Err(Error::config(format!("this runtime is for the service {}", self.service))
                .with_reason(Reason::OtherService)),
        }
    }

    pub(crate) fn watch<'a>(&'a self, group: &'a Group, known: Known) -> Watch<'a> {
        Watch::new(&self.engine, &self.mask, group, known, self.start_deadline)
    }

    /// Watches over what was brought up, while it is waited for until it is healthy. The containers of the services in
    /// `may_wait` need not run.
    pub(crate) async fn supervise(
        &self,
        target: &Target,
        may_wait: &BTreeSet<String>,
        healthy: BoxFuture<'_, Result<()>>,
    ) -> Result<()> {
        let located = |error| self.located(error, || format!("watch {target}"));
        let known = match self.brought_up.take(target) {
            Some(known) => known,
            None => self.kept(target.slot, may_wait).await.map_err(located)?,
        };
        let mut watch = self.watch(&self.groups[target.slot], known);
        let mut waited = Ok(());
        let wait = async {
            waited = healthy.await;
            Ok(())
        };
        watch.supervise(wait, &self.records, target.slot).await.map_err(located)?;
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
    async fn kept(&self, slot: Slot, may_wait: &BTreeSet<String>) -> Result<Known> {
        let found = self.accepted(slot).await?;
        Known::new(&self.engine, Readiness::of_kept(&found, may_wait, self.restarts_allowed)).await
    }

    /// What a healthcheck printed may be anything.
    pub(crate) fn masked(&self, instance: Instance) -> Instance {
        match instance {
            Instance::Degraded { version, endpoints, reason } => {
                Instance::Degraded { version, endpoints, reason: self.mask.apply(&reason).into_owned() }
            }
            other => other,
        }
    }

    pub(crate) fn located(&self, error: Error, what: impl FnOnce() -> String) -> Error {
        error.with_operation(what()).with("engine", &self.engine)
    }
}
