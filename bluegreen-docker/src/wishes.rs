//! What the user said of the services and the data of the compose file.

use std::collections::BTreeSet;

use crate::compose::Project;
use crate::endpoint::EndpointPort;

#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) endpoints: Vec<EndpointPort>,
    /// Services that run once, in a project of their own.
    pub(crate) shared: BTreeSet<String>,
    /// Volumes and directories that both slots may have open for writing.
    pub(crate) data_shared: BTreeSet<String>,
    /// Volumes, and services without any, whose data each slot has for itself.
    pub(crate) data_per_slot: BTreeSet<String>,
    /// Services that end when their work is done.
    pub(crate) jobs: BTreeSet<String>,
    /// Services that run in the slot with all traffic alone.
    pub(crate) only_while_live: BTreeSet<String>,
    /// Whether the compose file is to be run without any change.
    pub(crate) as_written: bool,
}

impl Wishes {
    /// The services that end when their work is done: by the user's word, because others wait for that, or because they are
    /// not to be restarted once they have succeeded.
    pub(crate) fn jobs_of(&self, project: &Project) -> BTreeSet<String> {
        let by_restart =
            project.services.iter().filter(|(name, of)| of.is_job_by_restart() && !self.has_endpoint(name));
        let mut jobs: BTreeSet<_> = by_restart.map(|(name, _)| name.clone()).collect();
        jobs.extend(project.jobs());
        jobs.extend(self.jobs.iter().cloned());
        jobs
    }

    pub(crate) fn has_endpoint(&self, service: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.service == service)
    }
}
