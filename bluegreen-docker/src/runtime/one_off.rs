//! Commands in a container of their own.

use std::collections::BTreeMap;

use bluegreen_core::{Command, Error, Result, Target};

use super::arrangement::arrange;
use super::{ComposeRuntime, shared, start};

impl ComposeRuntime {
    /// Compose on a prepared release in its slot; without what it is to do.
    pub(crate) async fn compose_command(&self, target: &Target, service: &str) -> Result<Command> {
        let arrangement = arrange(self, target).await?.accepted()?;
        shared::bring_up(self, target, &arrangement).await?;
        if !arrangement.project.services.contains_key(service) {
            return Err(Error::config(format!("the slot has no service {service:?}")));
        }
        // One command in a container of its own, which has no ports.
        let files = start::write_overlay(self, target, &arrangement, &[], &BTreeMap::new()).await?;
        let name = self.inner.project_name(target.slot);
        self.inner.compose.command(&self.inner.slots.engine, name, target, Some(&files)).await
    }
}
