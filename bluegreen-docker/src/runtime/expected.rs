//! What is expected of a project's services.

use crate::compose::Project;
use crate::slot::readiness::Expected;
use crate::wishes::Wishes;

/// What a slot with this project is to come to.
pub(super) fn expected(project: &Project, wishes: &Wishes) -> Expected {
    let wanted = project.services.iter().filter(|(_, service)| service.is_wanted());
    // A restart policy alone does not say that it will end: servers have such ones too.
    let jobs = project.jobs().into_iter().chain(wishes.jobs.iter().cloned()).collect();
    // Compose brings those up too; nobody can tell them from a job.
    let without_policy = project.services.iter().filter(|(name, service)| {
        service.restart.is_none() && !wishes.has_endpoint(name) && !wishes.only_while_live.contains(*name)
    });
    let may_end = without_policy.map(|(name, _)| name.clone()).chain(wishes.jobs_of(project)).collect();
    let wanted = wanted.map(|(name, _)| name.clone()).collect();
    Expected { may_end, jobs, may_wait: wishes.only_while_live.clone(), wanted }
}
