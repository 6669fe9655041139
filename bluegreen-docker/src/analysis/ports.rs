//! Ports of the engine's machine that the file gives to a service: the other slot's cannot have them too.

use super::{Findings, Question};
use crate::compose::Wish;

/// Which ports the slot gets instead is decided when it starts.
pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    if question.may_change() {
        return;
    }
    for (service, of) in question.in_slot() {
        for port in of.ports.iter().filter(|port| matches!(port.wish(), Some(Wish::Fixed(_)))) {
            findings.refuse(
                format!("services.{service}.ports: {port} is a port of the machine, which two slots cannot share"),
                format!(
                    "let the engine choose it (`127.0.0.1::{}`, or no `ports:` and an `.endpoint(..)`), {}",
                    port.target(),
                    question.why_unchanged()
                ),
            );
        }
    }
}
