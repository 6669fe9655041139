//! What the engine is told to create.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result, Target, sha256_hex};
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, PortBinding};

use super::Inner;
use super::settings::check_variable;
use crate::labels;
use crate::slot::free_ports::LOOPBACK;
use crate::slot::restart_policy::restart_policy;

/// How long one run of a healthcheck may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(10);

/// A slot's container, but for the port that it is published on.
pub(super) struct Creation {
    body: ContainerCreateBody,
    /// A digest of it, which tells whether what runs is the same.
    pub(super) digest: String,
}

impl Creation {
    /// Of a release, with its exact image.
    pub(super) fn of(inner: &Inner, target: &Target, image: String) -> Result<Self> {
        let settings = &inner.settings;
        let mut environment: BTreeMap<&str, &str> =
            settings.environment.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        for (name, value) in target.release.settings() {
            check_variable(name).map_err(|error| error.with_operation("hand on the release's settings"))?;
            environment.insert(name, value);
        }
        let port = settings.port.map(|port| port.to_string());
        environment.extend([("VERSION", target.version().as_str()), ("SLOT", target.slot.as_str())]);
        environment.extend(port.as_deref().map(|port| ("PORT", port)));
        let mount = |(place, source): (&String, &String)| Mount {
            target: Some(place.clone()),
            source: Some(source.clone()),
            typ: Some(if source.starts_with('/') { MountType::BIND } else { MountType::VOLUME }),
            ..Mount::default()
        };
        let health = |words: &Vec<String>| HealthConfig {
            test: Some(["CMD".to_owned()].into_iter().chain(words.iter().cloned()).collect()),
            interval: Some(nanoseconds(settings.health_interval)),
            timeout: Some(nanoseconds(HEALTH_LIMIT)),
            retries: Some(settings.health_retries.into()),
            ..HealthConfig::default()
        };
        let host_config = HostConfig {
            mounts: Some(settings.volumes.iter().map(mount).collect()),
            memory: settings.memory.and_then(|bytes| i64::try_from(bytes).ok()),
            nano_cpus: settings.cpus.map(|cpus| (cpus * 1e9) as i64),
            network_mode: settings.network.clone(),
            init: Some(settings.init),
            restart_policy: Some(restart_policy(&settings.restart)),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: settings.entrypoint.clone(),
            cmd: settings.command.clone(),
            env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            exposed_ports: settings.port.map(|port| vec![format!("{port}/tcp")]),
            healthcheck: settings.health_command.as_ref().map(health),
            user: settings.user.clone(),
            stop_timeout: settings
                .stop_grace
                .map(|grace| i64::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        let text = serde_json::to_vec(&body);
        let text =
            text.map_err(|error| Error::new(ErrorKind::Unexpected, "cannot be written as JSON").with_source(error))?;
        Ok(Self { body, digest: sha256_hex(&text) })
    }

    /// With its labels, and the port of the engine's machine that it has from now on.
    pub(super) fn published(self, inner: &Inner, target: &Target, at: Option<u16>) -> ContainerCreateBody {
        let labels = [
            (labels::SERVICE, target.service.as_str()),
            (labels::SLOT, target.slot.as_str()),
            (labels::VERSION, target.version().as_str()),
            (labels::OPERATION, target.operation.as_str()),
            (labels::CONTAINER, inner.slots.groups[target.slot].name.as_str()),
            (labels::SETTINGS, self.digest.as_str()),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let binding = |(port, at): (u16, u16)| {
            let binding = PortBinding { host_ip: Some(LOOPBACK.to_string()), host_port: Some(at.to_string()) };
            HashMap::from([(format!("{port}/tcp"), Some(vec![binding]))])
        };
        let port_bindings = inner.settings.port.zip(at).map(binding);
        let host_config = self.body.host_config.map(|config| HostConfig { port_bindings, ..config });
        ContainerCreateBody { labels: Some(labels), host_config, ..self.body }
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
