//! What a slot's container is made with.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, Result, Secret};

/// Default for how often a given healthcheck is made: every 2 seconds, because the engine's own 30 would be what each deploy
/// waits at least.
pub const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// Default for how often in a row a given healthcheck fails until the container is unhealthy: 15 times, half a minute by the
/// default interval, because it begins before the program listens.
pub const DEFAULT_HEALTH_RETRIES: u32 = 15;

/// The variables that are set in the container by ourselves.
const OWN_VARIABLES: [&str; 3] = ["PORT", "SLOT", "VERSION"];

/// What the engine takes at least.
const LEAST_MEMORY: u64 = 6 << 20;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) port: Option<u16>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) command: Option<Vec<String>>,
    pub(super) environment: BTreeMap<String, Secret>,
    /// Sources by their places in the container.
    pub(super) volumes: BTreeMap<String, String>,
    /// In bytes.
    pub(super) memory: Option<u64>,
    pub(super) cpus: Option<f64>,
    pub(super) health_command: Option<Vec<String>>,
    pub(super) health_interval: Duration,
    pub(super) health_retries: u32,
    pub(super) network: Option<String>,
    pub(super) user: Option<String>,
    pub(super) init: bool,
    pub(super) restart: String,
    pub(super) stop_grace: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: None,
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            volumes: BTreeMap::new(),
            memory: None,
            cpus: None,
            health_command: None,
            health_interval: DEFAULT_HEALTH_INTERVAL,
            health_retries: DEFAULT_HEALTH_RETRIES,
            network: None,
            user: None,
            init: true,
            restart: "unless-stopped".to_owned(),
            stop_grace: None,
        }
    }
}

impl Settings {
    /// Refuses what the engine would refuse, or what two slots could not be.
    pub(super) fn check(&self) -> Result<()> {
        let refused = |what: String| Err(Error::config(what));
        if self.port == Some(0) {
            return refused("the container's port cannot be 0".to_owned());
        }
        for (name, value) in &self.environment {
            check_variable(name)?;
            if value.reveal().contains('\0') {
                return refused(format!("the value of {name} holds a NUL, which no environment can"));
            }
        }
        let words = [&self.entrypoint, &self.command, &self.health_command];
        for words in words.into_iter().flatten() {
            if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
                return refused("a command has a first word, and none with a NUL in it".to_owned());
            }
        }
        for (place, source) in &self.volumes {
            if !place.starts_with('/') || !(source.starts_with('/') || is_name(source)) {
                let what = format!("{source:?} at {place:?} is no volume: that is a name, or an absolute path of the");
                return refused(format!("{what} engine's machine, at an absolute path of the container"));
            }
        }
        if let Some(memory) = self.memory
            && (memory < LEAST_MEMORY || i64::try_from(memory).is_err())
        {
            return refused(format!("{memory} bytes of memory: the engine takes 6 MiB or more"));
        }
        if let Some(cpus) = self.cpus
            && !(0.01..=10_000.0).contains(&cpus)
        {
            return refused(format!("{cpus} CPUs: the engine takes 0.01 or more"));
        }
        if self.health_interval < Duration::from_millis(1) || self.health_retries == 0 {
            return refused("a healthcheck is made every millisecond at most, and tried once at least".to_owned());
        }
        let is_network = |name: &&String| is_name(name) && !matches!(name.as_str(), "host" | "none");
        if let Some(network) = self.network.as_ref().filter(|name| !is_network(name)) {
            return refused(format!("{network:?} cannot be the network of two slots that publish ports"));
        }
        let (policy, count) = self.restart.split_once(':').unwrap_or((&self.restart, "1"));
        let counts = policy == "on-failure" || !self.restart.contains(':');
        if !matches!(policy, "no" | "always" | "unless-stopped" | "on-failure")
            || !counts
            || count.parse::<u32>().is_err()
        {
            return refused(format!("{:?} is no restart policy", self.restart));
        }
        Ok(())
    }
}

/// Refuses the name of a variable that cannot be one, or is ours.
pub(super) fn check_variable(name: &str) -> Result<()> {
    check_variable_name(name)?;
    match OWN_VARIABLES.contains(&name) {
        true => Err(Error::config(format!("the variable {name} is set by the runtime itself"))),
        false => Ok(()),
    }
}

/// What the engine takes as the name of a container, a volume or a network.
pub(super) fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.chars().all(good) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}
