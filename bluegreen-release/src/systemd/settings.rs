//! What a [`SystemdRuntime`](super::SystemdRuntime) was built with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, PerSlot, Result, Secret, Slot, Target};

use super::hardening::Hardening;
use crate::env_file::read_env_file;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) service: String,
    pub(super) directory: String,
    /// The program, relative to the release, and its arguments.
    pub(super) command: Vec<String>,
    pub(super) scope: Scope,
    pub(super) ports: PerSlot<u16>,
    pub(super) variables: BTreeMap<String, Secret>,
    pub(super) env_files: Vec<PathBuf>,
    /// The user's own units, instead of ours.
    pub(super) units: Option<PerSlot<String>>,
    pub(super) notify: bool,
    pub(super) stop_timeout: Duration,
    pub(super) start_deadline: Duration,
    pub(super) restarts_allowed: u32,
    pub(super) hardening: Hardening,
    /// Further lines of the section `[Service]`.
    pub(super) directives: Vec<(String, String)>,
}

/// Whose systemd it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The system's, and the user that the program runs as.
    System { user: String },
    /// That of the user who deploys.
    User,
}

impl Settings {
    pub(super) fn unit(&self, slot: Slot) -> String {
        match &self.units {
            Some(units) => units[slot].clone(),
            None => format!("{}-{slot}.service", self.service),
        }
    }

    /// The option of systemctl and journalctl.
    pub(super) fn scope_option(&self) -> &'static str {
        match self.scope {
            Scope::System { .. } => "",
            Scope::User => "--user",
        }
    }

    /// The environment of a release, as a file that systemd reads.
    ///
    /// # Errors
    /// Those of reading a file, which never show what is in it; `Config` for a variable that is refused.
    pub(super) async fn environment(&self, target: &Target) -> Result<String> {
        let mut variables = self.variables.clone();
        for file in &self.env_files {
            for (name, value) in read_env_file(file).await? {
                variables.entry(name).or_insert(value);
            }
        }
        for (name, value) in target.release.settings() {
            variables.insert(name.to_owned(), Secret::new(value));
        }
        check_variables(&variables)?;
        let (port, slot, version) = (self.ports[target.slot].to_string(), target.slot.as_str(), target.version());
        for (name, value) in [("PORT", port.as_str()), ("SLOT", slot), ("VERSION", version.as_str())] {
            variables.insert(name.to_owned(), Secret::new(value));
        }
        let lines = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value.reveal())));
        Ok(format!("# Written by bluegreen-release at each deploy.\n{}", lines.collect::<String>()))
    }
}

/// Checks variables for the program's environment.
///
/// # Errors
/// `Config` when a name is none, or belongs to the runtime, or a value holds a NUL.
pub(super) fn check_variables(variables: &BTreeMap<String, Secret>) -> Result<()> {
    for (name, value) in variables {
        check_variable_name(name)?;
        if matches!(name.as_str(), "PORT" | "SLOT" | "VERSION") {
            return Err(Error::config(format!("the variable {name} is set by the runtime"))
                .with_hint("the ports have a setting of their own"));
        }
        if value.reveal().contains('\0') {
            return Err(Error::config(format!("the value of {name} holds a NUL character")));
        }
    }
    Ok(())
}

/// In double quotes, in which systemd takes a backslash before these four as a shell does.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}
