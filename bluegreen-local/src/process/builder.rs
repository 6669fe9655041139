//! How a [`ProcessRuntime`] is made.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Secret, Slot};

use super::ProcessRuntime;
use super::procfs;
use super::slot_directory::make_private;
use super::template::Template;

/// The variables of the deployer's own environment that a service sees. A service must not depend on the shell it was
/// deployed from, nor see the deployer's secrets.
const INHERITED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// The variables that the runtime sets itself.
const OWN: [&str; 4] = ["PORT", "SLOT", "VERSION", procfs::MARK];

/// Configures a [`ProcessRuntime`]; see [`ProcessRuntime::builder`].
#[derive(Debug)]
#[must_use]
pub struct ProcessRuntimeBuilder {
    pub(super) state: PathBuf,
    pub(super) template: Template,
    pub(super) environment: BTreeMap<String, Secret>,
    pub(super) inherited: Vec<String>,
    pub(super) address: IpAddr,
    pub(super) ports: Option<PerSlot<u16>>,
}

impl ProcessRuntimeBuilder {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            template: Template { program: "{artifact}".to_owned(), ..Template::default() },
            environment: BTreeMap::new(),
            inherited: INHERITED.map(str::to_owned).to_vec(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: None,
        }
    }

    /// The program to run. Default: `{artifact}`. A word with a slash is a path, any other is looked up in `PATH`.
    ///
    /// It must stay in the foreground: a program that puts itself into the background counts as ended.
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.template.program = program.into();
        self
    }

    /// Adds an argument. No shell sees it, so nothing needs quoting.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.template.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.template.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The directory to run in. Default: the deployer's current one. Placeholders work here too.
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.template.directory = Some(directory.into());
        self
    }

    /// Sets an environment variable of the service. The value is taken as it is, without placeholders, and is seen
    /// nowhere but in the service's environment.
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.environment.insert(name.into(), value);
        self
    }

    /// Hands on a variable of the deployer's environment, where it is set.
    ///
    /// Without this, the service sees `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`, `TZ` and `TMPDIR`
    /// of the deployer, and nothing else.
    pub fn inherit_env(mut self, name: impl Into<String>) -> Self {
        self.inherited.push(name.into());
        self
    }

    /// The ports of blue and green. Default: the system chooses a free port at each start.
    /// The service has to listen on the port in
    /// `PORT` either way. Between the choice and the moment the service listens, another program can take a chosen
    /// port; the service then fails to start, and the deploy with it, without harm to the live slot.
    pub fn ports(mut self, ports: impl Into<PerSlot<u16>>) -> Self {
        self.ports = Some(ports.into());
        self
    }

    /// The address on which the service listens, as others on this machine reach it. Default: 127.0.0.1.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Checks the configuration and makes the state directory.
    ///
    /// # Errors
    /// `Config` when a placeholder or a variable's name is not valid, or both slots have one port; `Unsupported` on a
    /// system without `/proc`; those of the file system.
    pub fn build(self) -> Result<ProcessRuntime> {
        if !procfs::is_available() {
            return Err(Error::new(ErrorKind::Unsupported, "the process runtime needs Linux's /proc"));
        }
        self.template.validate()?;
        for (name, value) in &self.environment {
            check_variable(name, value)?;
        }
        match self.ports {
            Some(PerSlot { blue, green }) if blue == green => {
                return Err(Error::config(format!("both slots have the port {blue}")));
            }
            Some(PerSlot { blue: 0, .. } | PerSlot { green: 0, .. }) => {
                return Err(Error::config("0 is not a port").with_hint("leave ports() out to have them chosen"));
            }
            _ => {}
        }
        let state = std::path::absolute(&self.state)
            .map_err(|error| Error::from(error).not_applied().with("path", self.state.display()))?;
        make_private(&state)?;
        Ok(ProcessRuntime::new(Self { state, ..self }))
    }

    pub(super) fn fixed_port(&self, slot: Slot) -> Option<u16> {
        self.ports.map(|ports| ports[slot])
    }
}

fn check_variable(name: &str, value: &Secret) -> Result<()> {
    check_variable_name(name)?;
    if OWN.contains(&name) {
        return Err(Error::config(format!("the variable {name} is set by the runtime itself")));
    }
    if value.reveal().contains('\0') {
        return Err(Error::config(format!("the value of {name} holds a NUL character")));
    }
    Ok(())
}
