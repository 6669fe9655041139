//! Services that work by themselves, with traffic or without.

use super::images::{is_cache, is_database};
use super::{Findings, Question};

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    let jobs = question.project.jobs();
    for (name, service) in question.in_slot() {
        let wishes = question.wishes;
        let image = service.image.as_deref().unwrap_or_default();
        let serves = wishes.has_endpoint(name) || !service.ports.is_empty() || !service.expose.is_empty();
        let mut others = question.in_slot().filter(|(other, _)| *other != name);
        let is_needed = others.any(|(_, of)| {
            let joined = of.network_mode.as_deref().and_then(|mode| mode.strip_prefix("service:"));
            of.depends_on.names().contains(&name.as_str())
                || of.links.iter().any(|link| link.split(':').next() == Some(name))
                || joined == Some(name)
                || question.mentions(of, name)
        });
        let ends = jobs.contains(name) || wishes.jobs.contains(name) || service.is_job_by_restart();
        let is_spoken_of = ends || wishes.only_while_live.contains(name);
        if !serves && !is_needed && !is_spoken_of && !is_database(image) && !is_cache(image) {
            findings.note(format!(
                "{name} serves nobody, and works in both slots, also in the one that has no traffic: if its work must not be done \
                 twice, say `.only_while_live([\"{name}\"])`"
            ));
        }
        if wishes.only_while_live.contains(name) {
            if wishes.has_endpoint(name) {
                findings.refuse(
                    format!("{name} is an endpoint, and is to run only while its slot is live"),
                    "an endpoint must run before it gets traffic",
                );
            } else if is_needed {
                findings.refuse(
                    format!("services: others of the slot need {name}, which is to run only while the slot is live"),
                    format!("leave {name} out of their `depends_on:`"),
                );
            }
        }
    }
}
