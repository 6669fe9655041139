//! What runtimes of releases in slots are built with, whatever runs them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, PerSlot, Result, Secret, ServiceName, Slot, Target};

use crate::env_file::read_env_file;

/// The ports of blue and green unless set: 4000 and 4001.
pub const DEFAULT_PORTS: PerSlot<u16> = PerSlot::new(4000, 4001);

#[derive(Debug, Clone)]
pub(crate) struct SlotSettings {
    pub(crate) service: String,
    pub(crate) directory: String,
    /// The program, relative to the release, and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) ports: PerSlot<u16>,
    pub(crate) variables: BTreeMap<String, Secret>,
    pub(crate) env_files: Vec<PathBuf>,
}

impl SlotSettings {
    pub(crate) fn new(service: String) -> Self {
        Self {
            directory: format!("/srv/{service}"),
            command: vec![format!("bin/{service}")],
            ports: DEFAULT_PORTS,
            variables: BTreeMap::new(),
            env_files: Vec::new(),
            service,
        }
    }

    /// A word of the command with `{port}` and `{slot}` filled in.
    pub(crate) fn filled(&self, word: &str, slot: Slot) -> String {
        word.replace("{port}", &self.ports[slot].to_string()).replace("{slot}", slot.as_str())
    }

    /// # Errors
    /// `Config` when a name, the directory, the command or a variable cannot be what it has to be, or the slots share a port.
    pub(crate) fn check(&self) -> Result<()> {
        ServiceName::new(&self.service)?;
        if !self.directory.starts_with('/') || self.directory.trim_end_matches('/').is_empty() {
            let what = format!("{:?} is not an absolute path that can belong to one service", self.directory);
            return Err(Error::config(what));
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(Error::config("a command must not contain a NUL character"));
        }
        let PerSlot { blue, green } = self.ports;
        if blue == green || blue == 0 || green == 0 {
            return Err(Error::config(format!("the slots need two ports, and have {blue} and {green}")));
        }
        check_variables(&self.variables)
    }

    /// The environment of a release, as a file that systemd and a shell read alike.
    ///
    /// # Errors
    /// Those of reading a file, which never show what is in it; `Config` for a variable that is refused.
    pub(crate) async fn environment(&self, target: &Target) -> Result<String> {
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
fn check_variables(variables: &BTreeMap<String, Secret>) -> Result<()> {
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
