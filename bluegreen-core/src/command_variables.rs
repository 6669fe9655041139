//! The environment that a command receives which the pipeline runs: names in one place, for checks and hooks.

use crate::host::Command;
use crate::types::{Secret, Target};

/// Tells a command what it acts on: `SERVICE`, `SLOT` and `VERSION`.
pub(crate) fn tell_target(command: Command, target: &Target) -> Command {
    let about =
        [("SERVICE", target.service.as_str()), ("SLOT", target.slot.as_str()), ("VERSION", target.version().as_str())];
    about.into_iter().fold(command, |command, (name, value)| command.env(name, Secret::new(value)))
}

/// The name of a variable: the prefix, `_`, and `name` in capitals, with `_` for all but letters and digits.
pub(crate) fn variable_name(prefix: &str, name: &str) -> String {
    let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("{prefix}_{}", name.collect::<String>())
}
