//! How a [`SystemdRuntime`] is made.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Host, PerSlot, Result};

use super::SystemdRuntime;
use super::hardening::Hardening;
use super::settings::{Scope, Settings};
use super::unit;
use crate::slots::{SlotSettings, SlotsBuilder, slots_setters};

/// How long a program may take to be started unless set: 60 s. With `Type=notify` that is until it says that it is ready.
pub const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a program is given to end, by its unit, unless set: 30 s.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a program may end and be restarted while its health is waited for, unless set: twice.
pub const DEFAULT_RESTARTS_ALLOWED: u32 = 2;

/// Settings of a [`SystemdRuntime`]; begun by [`SystemdRuntime::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SystemdRuntimeBuilder {
    slots: SlotsBuilder,
    settings: Settings,
}

impl SystemdRuntimeBuilder {
    pub(super) fn new(host: Arc<dyn Host>, service: String) -> Self {
        let settings = Settings {
            scope: Scope::System { user: String::new() },
            units: None,
            notify: false,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            start_deadline: DEFAULT_START_DEADLINE,
            restarts_allowed: DEFAULT_RESTARTS_ALLOWED,
            hardening: Hardening::default(),
            directives: Vec::new(),
        };
        Self { slots: SlotsBuilder::new(host, service), settings }
    }

    slots_setters!("by systemd");

    /// Sets the user that the program runs as. It must be set, unless [`user_units`](Self::user_units) are used. Usually it is
    /// the one that deploys; another one cannot read the environment file, and has to be in the group of `shared/`.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.settings.scope = Scope::System { user: name.into() };
        self
    }

    /// Uses the systemd of the user who deploys (`systemctl --user`), for which nothing needs root but, once,
    /// `loginctl enable-linger`.
    pub fn user_units(mut self) -> Self {
        self.settings.scope = Scope::User;
        self
    }

    /// Uses units that somebody else wrote, one for each slot, instead of ours. They have to run the program in
    /// `<directory>/slots/<slot>/release`, with `EnvironmentFile=<directory>/slots/<slot>/env`.
    pub fn units(mut self, blue: impl Into<String>, green: impl Into<String>) -> Self {
        self.settings.units = Some(PerSlot::new(blue.into(), green.into()));
        self
    }

    /// Waits until the program says that it is ready (`Type=notify`, `sd_notify`), instead of until it runs.
    pub fn notify(mut self) -> Self {
        self.settings.notify = true;
        self
    }

    /// Sets how long a program may take to be started; [`DEFAULT_START_DEADLINE`] (60 s) unless set.
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.settings.start_deadline = deadline;
        self
    }

    /// Sets how long a program is given to end; [`DEFAULT_STOP_TIMEOUT`] (30 s) unless set. A pipeline's grace counts where
    /// it is longer than a deployer's wait, and the unit's where that is longer.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// Sets how often a program may end, and be restarted, while its health is waited for;
    /// [`DEFAULT_RESTARTS_ALLOWED`] (2) unless set.
    pub fn restarts_allowed(mut self, count: u32) -> Self {
        self.settings.restarts_allowed = count;
        self
    }

    /// Sets what the program is kept from; [`Hardening::Basic`] unless set.
    pub fn hardening(mut self, hardening: Hardening) -> Self {
        self.settings.hardening = hardening;
        self
    }

    /// Adds a line to the section `[Service]` of our units, after all others: `MemoryMax` and `512M`, `CPUQuota` and `50%`,
    /// `LimitNOFILE` and `65536`. The value is systemd's own syntax, `%` included.
    pub fn directive(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.directives.push((name.into(), value.into()));
        self
    }

    /// The runtime. Nothing is done on the server yet.
    ///
    /// # Errors
    /// `Config` when a name, a path, a line or a variable cannot be what it has to be, when the slots share a port or a unit,
    /// or no user is set.
    pub fn build(self) -> Result<SystemdRuntime> {
        let about = |error: Error| error.with_operation("set up the systemd runtime");
        check(&self.slots.settings, &self.settings).map_err(about)?;
        Ok(SystemdRuntime { slots: self.slots.build().map_err(about)?, settings: Arc::new(self.settings) })
    }
}

fn check(slots: &SlotSettings, settings: &Settings) -> Result<()> {
    unit::check_path("directory of a service", &slots.directory)?;
    unit::check_path("program", slots.command.first().map_or("", String::as_str))?;
    match &settings.scope {
        Scope::System { user } if user.is_empty() => {
            return Err(Error::config("no user is set that the program runs as")
                .with_hint("set `user`, usually to the one that deploys; or use `user_units`"));
        }
        Scope::System { user } if !is_user(user) => {
            return Err(Error::config(format!("{user:?} is not the name of a user")));
        }
        _ => {}
    }
    if let Some(units) = &settings.units {
        units.iter().try_for_each(|name| unit::check_unit_name(name))?;
        if units.blue == units.green {
            return Err(Error::config(format!("the slots need two units, and have {:?} twice", units.blue)));
        }
    }
    settings.directives.iter().try_for_each(|(name, value)| unit::check_directive(name, value))
}

fn is_user(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}
