//! Names of containers, of which the engine has each once.

use serde_json::json;

use super::{Findings, Question};
use crate::compose::Said;

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    for (service, of) in question.in_slot() {
        let Some(name) = of.container_name.as_deref().filter(|name| !question.names_slot(name)) else { continue };
        if !question.may_change() {
            findings.refuse(
                format!("services.{service}.container_name: two slots cannot have containers of the name {name:?}"),
                format!(
                    "leave it out, or give it the slot, `container_name: {name}-${{SLOT}}`; {}",
                    question.why_unchanged()
                ),
            );
            continue;
        }
        findings.patch.set(["services", service, "container_name"], Said::Removed);
        // Others of the slot may call it by that name.
        for (network, attachment) in of.attachments() {
            if name != service && !attachment.aliases.iter().any(|alias| alias == name) {
                let aliases: Vec<_> = attachment.aliases.iter().map(String::as_str).chain([name]).collect();
                findings
                    .patch
                    .set(["services", service, "networks", &network, "aliases"], Said::Merged(json!(aliases)));
            }
        }
    }
}
