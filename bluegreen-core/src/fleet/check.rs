use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;

use super::shared::Shared;
use super::slot_view;
use crate::error::Result;
use crate::health::{Health, HealthCheck};
use crate::probe::is_known;
use crate::types::{Instance, Target, Version};

/// A check of each member that takes part, by the check that is its own. Healthy where all are. Made by
/// [`Fleet::check_each_slot`](super::Fleet::check_each_slot) and the like.
pub struct FleetCheck {
    pub(super) shared: Arc<Shared>,
    pub(super) checks: Vec<Arc<dyn HealthCheck>>,
    /// Whether each is given its part of the instance, or none, because it asks an address of its own.
    pub(super) of_slot: bool,
}

impl fmt::Debug for FleetCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetCheck").field("checks", &self.checks).finish_non_exhaustive()
    }
}

impl fmt::Display for FleetCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checks.first() {
            Some(check) => write!(f, "{check}, on each of {} members", self.checks.len()),
            None => f.write_str("no check"),
        }
    }
}

#[async_trait]
impl HealthCheck for FleetCheck {
    async fn check(&self, target: &Target, _instance: &Instance) -> Result<Health> {
        let shared = &self.shared;
        let looks = shared.check(shared.roster.active(), |member| {
            let (check, target) = (self.checks[member].clone(), target.clone());
            let seen = shared.roster.read(member, |standing| standing.seen[target.slot].clone());
            let of_slot = self.of_slot;
            async move {
                match seen {
                    Some(instance) if of_slot && !instance.is_running() => Ok(Health::unhealthy(instance.to_string())),
                    Some(instance) => check.check(&target, &instance).await,
                    None => check.check(&target, &Instance::Absent).await,
                }
            }
            .boxed()
        });
        let (mut versions, mut unwell): (BTreeMap<Option<Version>, Vec<usize>>, _) = (BTreeMap::new(), Vec::new());
        for (member, look) in looks.await {
            let reason = match look {
                Ok(Health::Healthy { version: Some(version) })
                    if version != *target.version() && is_known(target.version()) =>
                {
                    Some(format!("it answers as {version}, and should be {}", target.version()))
                }
                Ok(Health::Healthy { version }) => {
                    versions.entry(version).or_default().push(member);
                    None
                }
                Ok(Health::Unhealthy { reason }) => Some(reason),
                Err(error) => Some(error.chain()),
            };
            shared.roster.looked(member, target.slot, reason.clone());
            unwell.extend(reason.map(|reason| format!("{}: {reason}", shared.names[member])));
        }
        if let Some(too_many) = slot_view::beyond_policy(shared) {
            return Ok(Health::unhealthy(too_many));
        }
        if !unwell.is_empty() {
            return Ok(Health::unhealthy(slot_view::shown(&unwell)));
        }
        let mut versions = versions.into_iter();
        Ok(match (versions.next(), versions.next()) {
            (None, _) => Health::unhealthy("no member is left"),
            (Some((version, _)), None) => Health::Healthy { version },
            (Some((one, first)), Some((other, second))) => Health::unhealthy(format!(
                "{} answer as {}, {} as {}",
                shared.named(&first),
                text(one),
                shared.named(&second),
                text(other)
            )),
        })
    }

    fn tells_version(&self) -> bool {
        self.checks.iter().all(|check| check.tells_version())
    }
}

fn text(version: Option<Version>) -> String {
    version.map_or_else(|| "an unknown version".to_owned(), |version| version.to_string())
}
