//! The containers of a slot, as the engine shows them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bluegreen_core::{Error, Instance, Result, Version};
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, PortBinding};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures::future::try_join_all;
use jiff::Timestamp;

use super::clock::engine_time;
use super::group::Group;
use crate::endpoint::EndpointPort;
use crate::engine::{Engine, if_found, quick};
use crate::labels;

/// How long a container that the engine had to restart does not count as whole. It comes up again within a fraction of a
/// second, so whoever looks now and then would never see it down.
const RESTART_SHOWS: Duration = Duration::from_secs(30);

/// How long a container must run that has ended before, while its slot is brought up, until that is forgiven.
pub(crate) const TO_PROVE_ITSELF: Duration = Duration::from_secs(2);

/// One container of a slot.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// The service of the compose file, or the service that is deployed where a slot is one container.
    pub(crate) service: String,
    number: u32,
    /// Whether it is there for one command, as of `compose run`.
    pub(crate) is_one_off: bool,
    labels: HashMap<String, String>,
    pub(crate) state: State,
    pub(crate) health: Option<Health>,
    /// How often the engine has restarted it, since it was last started by someone.
    pub(crate) restarts: i64,
    /// When it came up last, by the engine's clock.
    started: Option<Timestamp>,
    ports: HashMap<String, Option<Vec<PortBinding>>>,
    /// The ports that it gets at each start, where they are fixed.
    fixed: Vec<(IpAddr, u16)>,
    /// Whether it had ended with success when its slot was ready.
    pub(crate) was_done_at_start: bool,
    /// Whether the engine restarted it only while its slot was brought up.
    pub(crate) was_restarted_at_start: bool,
    /// The networks that it is on.
    pub(crate) networks: BTreeSet<String>,
    /// How long it asks to be given when it is to end.
    pub(crate) own_grace: Duration,
    /// Whether its first process hands signals on, and collects what has ended.
    pub(crate) has_init: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Made, and never started.
    Created {
        error: String,
    },
    /// Running, or paused.
    Running,
    /// Between an end and the next start.
    Restarting {
        status: i64,
        out_of_memory: bool,
    },
    Exited {
        status: i64,
        out_of_memory: bool,
        error: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Starting,
    Healthy,
    /// What the last check printed.
    Unhealthy(String),
}

impl Container {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    pub(crate) fn version(&self) -> Option<Version> {
        self.label(labels::VERSION).and_then(|text| text.parse().ok())
    }

    /// Whether a process of it runs, or is about to run again.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Restarting { .. })
    }

    /// Whether it is meant to end.
    pub(crate) fn is_job(&self) -> bool {
        self.label(labels::JOB).is_some()
    }

    /// Whether it ended with success.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Exited { status: 0, .. })
    }

    /// Whether the engine says that it ended for want of memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self.state, State::Restarting { out_of_memory: true, .. } | State::Exited { out_of_memory: true, .. })
    }

    /// Why it is not well although it runs.
    fn ailment(&self, now: Option<Timestamp>) -> Option<String> {
        if let Some(Health::Unhealthy(output)) = &self.health {
            return Some(check_fails(output.lines().last().unwrap_or_default()));
        }
        let restarted = self.started.filter(|_| self.restarts > 0)?;
        // None at all, where the engine's clock was set back.
        let since = Duration::try_from(now?.duration_since(restarted)).unwrap_or_default();
        let shows = if self.was_restarted_at_start { TO_PROVE_ITSELF } else { RESTART_SHOWS };
        (since < shows).then(|| format!("was restarted by the engine {} s ago", since.as_secs()))
    }

    /// As `compose logs` calls it: by its number only where there are several.
    pub(crate) fn title(&self, all: &[Self]) -> String {
        let several = all.iter().any(|other| other.service == self.service && other.number != self.number);
        if several { format!("{}-{}", self.service, self.number) } else { self.service.clone() }
    }

    /// Where a TCP port of it is published, as seen from the engine's machine.
    pub(crate) fn published(&self, port: u16) -> Option<String> {
        let bindings = self.ports.get(&format!("{port}/tcp"))?.as_ref()?;
        let addresses = bindings.iter().filter_map(|binding| {
            let port = binding.host_port.as_deref()?.parse::<u16>().ok().filter(|port| *port != 0)?;
            Some(match binding.host_ip.as_deref() {
                None | Some("" | "0.0.0.0") => format!("127.0.0.1:{port}"),
                Some("::") => format!("[::1]:{port}"),
                Some(address) if address.contains(':') => format!("[{address}]:{port}"),
                Some(address) => format!("{address}:{port}"),
            })
        });
        // One published on all addresses is listed for both families.
        addresses.min_by_key(|address| address.starts_with('['))
    }

    /// The TCP ports of the engine's machine that are its own: those it has now, and those it gets at its next start.
    pub(crate) fn holds(&self) -> Vec<(IpAddr, u16)> {
        let mut all = self.fixed.clone();
        all.extend(tcp_of(&self.ports));
        all
    }

    /// On which of them a TCP port of the container is now.
    pub(crate) fn published_on(&self, port: u16) -> impl Iterator<Item = u16> {
        let bindings = self.ports.get(&format!("{port}/tcp")).and_then(Option::as_ref);
        bindings.into_iter().flatten().filter_map(|binding| fixed(binding).map(|(_, port)| port))
    }

    /// The services that this one was told to wait for. Unknown under Compose v1.
    pub(crate) fn depends_on(&self) -> BTreeSet<&str> {
        let listed = self.label(labels::COMPOSE_DEPENDS_ON).unwrap_or_default().split(',');
        listed.filter_map(|entry| entry.split(':').next()).filter(|name| !name.is_empty()).collect()
    }

    /// Why it does not run, in words.
    pub(crate) fn ending(&self) -> String {
        match &self.state {
            State::Running => "running".to_owned(),
            State::Created { error } if error.is_empty() => "never started".to_owned(),
            State::Created { error } => format!("could not be started: {error}"),
            State::Restarting { status, out_of_memory } => {
                format!("restarts again and again, {}", in_words(*status, *out_of_memory, ""))
            }
            State::Exited { status, out_of_memory, error } => in_words(*status, *out_of_memory, error),
        }
    }

    fn from_engine(found: ContainerInspectResponse) -> Option<Self> {
        let config = found.config?;
        let own_grace = config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok());
        let labels = config.labels?;
        let (host, network) = (found.host_config.unwrap_or_default(), found.network_settings.unwrap_or_default());
        let service = service_of(&labels)?.to_owned();
        let state = found.state.unwrap_or_default();
        let started = state.started_at.as_deref().and_then(|text| text.parse().ok());
        let (status, error) = (state.exit_code.unwrap_or(-1), state.error.unwrap_or_default());
        let out_of_memory = state.oom_killed.unwrap_or(false);
        let health = state.health.and_then(|health| {
            let output = || {
                let last = health.log.as_ref().and_then(|log| log.last()).and_then(|entry| entry.output.clone());
                last.unwrap_or_default().trim().to_owned()
            };
            match health.status? {
                HealthStatusEnum::STARTING => Some(Health::Starting),
                HealthStatusEnum::HEALTHY => Some(Health::Healthy),
                HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy(output())),
                HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
            }
        });
        Some(Self {
            id: found.id?,
            service,
            number: labels.get(labels::COMPOSE_NUMBER).and_then(|number| number.parse().ok()).unwrap_or(0),
            is_one_off: labels.get(labels::COMPOSE_ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true")),
            state: match state.status {
                Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED) => State::Running,
                Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting { status, out_of_memory },
                Some(ContainerStateStatusEnum::CREATED) => State::Created { error },
                _ => State::Exited { status, out_of_memory, error },
            },
            health,
            restarts: found.restart_count.unwrap_or(0),
            started,
            was_done_at_start: false,
            was_restarted_at_start: false,
            networks: network.networks.unwrap_or_default().into_keys().collect(),
            ports: network.ports.unwrap_or_default(),
            fixed: host.port_bindings.iter().flat_map(tcp_of).collect(),
            own_grace: Duration::from_secs(own_grace.unwrap_or(0)),
            has_init: host.init == Some(true),
            labels,
        })
    }
}

/// The service of a container with these labels. The labels of Compose may come from an image that it has built.
pub(crate) fn service_of(labels: &HashMap<String, String>) -> Option<&str> {
    let name = if labels.contains_key(labels::CONTAINER) { labels::SERVICE } else { labels::COMPOSE_SERVICE };
    labels.get(name).map(String::as_str)
}

/// The ports of the engine's machine in a table of the engine, as far as they are known.
fn tcp_of(table: &HashMap<String, Option<Vec<PortBinding>>>) -> Vec<(IpAddr, u16)> {
    let of_tcp = table.iter().filter(|(port, _)| port.ends_with("/tcp"));
    of_tcp.filter_map(|(_, bindings)| bindings.as_ref()).flatten().filter_map(fixed).collect()
}

fn fixed(binding: &PortBinding) -> Option<(IpAddr, u16)> {
    let port = binding.host_port.as_deref()?.parse().ok().filter(|port| *port != 0)?;
    let address = binding.host_ip.as_deref().and_then(|text| text.parse().ok());
    Some((address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port))
}

/// What is said of a container that was ended by SIGKILL, for a reason that is not known.
pub(crate) const KILLED: &str = " (killed)";

/// The same, for one that was ended because of its memory.
pub(crate) const OUT_OF_MEMORY: &str = " (out of memory: the kernel killed it at its memory limit)";

/// What is said of a container whose healthcheck fails, with what that printed.
pub(crate) fn check_fails(printed: &str) -> String {
    let said = if printed.is_empty() { String::new() } else { format!(": {printed}") };
    format!("its healthcheck fails{said}")
}

/// "exit status 1", "exit status 137 (killed, out of memory)".
pub(crate) fn in_words(status: i64, out_of_memory: bool, error: &str) -> String {
    let mut words = format!("exit status {status}");
    words.push_str(match (out_of_memory, status) {
        (true, _) => OUT_OF_MEMORY,
        (false, 137) => KILLED,
        _ => "",
    });
    if !error.is_empty() {
        words.push_str(&format!(" ({error})"));
    }
    words
}

/// All containers of a slot, those for one command included, in the order of service and number.
pub(crate) async fn containers_of(engine: &Engine, group: &Group) -> Result<Vec<Container>> {
    let docker = engine.docker().await?;
    let filters = HashMap::from([("label", vec![group.filter()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = quick("list the containers of a slot", docker.list_containers(Some(options))).await;
    let listed = listed.map_err(|error| not_seen(error, group))?;
    let look = async |id: String| inspect(engine, &id).await.map_err(|error| not_seen(error, group));
    // One that has been removed since is no longer one of them.
    let found = try_join_all(listed.into_iter().filter_map(|container| container.id).map(look)).await?;
    let mut containers: Vec<_> = found.into_iter().flatten().collect();
    containers
        .sort_by(|one, other| (&one.service, one.number, &one.id).cmp(&(&other.service, other.number, &other.id)));
    Ok(containers)
}

/// One container, if it is still there.
pub(crate) async fn inspect(engine: &Engine, id: &str) -> Result<Option<Container>> {
    let docker = engine.docker().await?;
    let found = quick("inspect a container", docker.inspect_container(id, None::<InspectContainerOptions>)).await;
    Ok(if_found(found)?.and_then(Container::from_engine))
}

/// Those that serve: without the ones for one command.
pub(crate) async fn services_of(engine: &Engine, group: &Group) -> Result<Vec<Container>> {
    let mut containers = Box::pin(containers_of(engine, group)).await?;
    containers.retain(|container| !container.is_one_off);
    Ok(containers)
}

fn not_seen(error: Error, group: &Group) -> Error {
    error.not_applied().with(group.kind(), group)
}

/// What is in a slot whose containers these are, as the engine shows them now.
pub(crate) async fn instance(
    engine: &Engine,
    containers: &[Container],
    endpoints: &[EndpointPort],
) -> Result<Instance> {
    let was_restarted = containers.iter().any(|container| container.restarts > 0 && container.is_alive());
    let now = if was_restarted { Some(engine_time(engine).await?) } else { None };
    Ok(instance_at(now, containers, endpoints))
}

/// `now` is the engine's time, which matters only where a container was restarted.
fn instance_at(now: Option<Timestamp>, containers: &[Container], endpoints: &[EndpointPort]) -> Instance {
    if containers.is_empty() {
        return Instance::Absent;
    }
    let alive: Vec<_> = containers.iter().filter(|container| container.is_alive()).collect();
    if alive.is_empty() {
        let reasons: Vec<_> = containers
            .iter()
            .map(|container| format!("{}: {}", container.title(containers), container.ending()))
            .collect();
        let version = common_version(containers.iter());
        return Instance::Stopped { version, reason: Some(reasons.join(", ")) };
    }
    let version = common_version(alive.iter().copied());
    let found = endpoints.iter().flat_map(|endpoint| {
        let of_service = alive.iter().filter(|container| container.service == endpoint.service);
        of_service.filter_map(|container| {
            Some(bluegreen_core::Endpoint::named(&endpoint.name, container.published(endpoint.port)?))
        })
    });
    let (found, down) = (found.collect(), down(now, containers, endpoints));
    match down.is_empty() {
        true => Instance::Running { version, endpoints: found },
        false => Instance::Degraded { version, endpoints: found, reason: down.join(", ") },
    }
}

/// The same, with more that is wrong.
pub(crate) fn degraded(instance: Instance, more: Vec<String>) -> Instance {
    match instance {
        instance if more.is_empty() => instance,
        Instance::Running { version, endpoints } => Instance::Degraded { version, endpoints, reason: more.join(", ") },
        Instance::Degraded { version, endpoints, reason } => {
            Instance::Degraded { version, endpoints, reason: format!("{reason}, {}", more.join(", ")) }
        }
        other => other,
    }
}

/// What should run and does not, or not well. A job that has ended well has done all it was there for.
fn down(now: Option<Timestamp>, containers: &[Container], endpoints: &[EndpointPort]) -> Vec<String> {
    let services: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.service.as_str()).collect();
    let why = |container: &Container| match container.state {
        State::Running => container.ailment(now),
        State::Exited { status: 0, .. } if container.is_job() || container.was_done_at_start => None,
        State::Created { .. } | State::Restarting { .. } | State::Exited { .. } => Some(container.ending()),
    };
    let unhealthy = containers.iter().filter_map(|container| Some((container.title(containers), why(container)?)));
    let unhealthy = unhealthy.map(|(title, why)| format!("{title}: {why}"));
    let gone = services.iter().filter(|name| !containers.iter().any(|container| container.service == **name));
    unhealthy.chain(gone.map(|name| format!("{name}: no container"))).collect()
}

/// The version that all of them have.
fn common_version<'a>(containers: impl Iterator<Item = &'a Container>) -> Option<Version> {
    let mut versions = containers.map(Container::version);
    let first = versions.next()??;
    versions.all(|version| version.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState};

    use super::*;

    fn worker(restarts: i64) -> Container {
        let labels = HashMap::from([(labels::COMPOSE_SERVICE.to_owned(), "worker".to_owned())]);
        let state = ContainerState {
            status: Some(ContainerStateStatusEnum::RUNNING),
            started_at: Some("2023-11-14T22:13:20.123456789Z".to_owned()),
            ..Default::default()
        };
        let found = ContainerInspectResponse {
            id: Some("1".to_owned()),
            config: Some(ContainerConfig { labels: Some(labels), ..Default::default() }),
            state: Some(state),
            restart_count: Some(restarts),
            ..Default::default()
        };
        Container::from_engine(found).unwrap()
    }

    #[test]
    fn a_restart_by_the_engine_shows_for_half_a_minute_and_not_for_ever() {
        let at = |time: &str, restarts| {
            let now = format!("2023-11-14T{time}Z").parse().ok();
            instance_at(now, &[worker(restarts)], &[]).to_string()
        };
        assert_eq!(at("22:13:23", 2), "degraded (version unknown) (worker: was restarted by the engine 2 s ago)");
        assert_eq!(at("22:13:49", 1), "degraded (version unknown) (worker: was restarted by the engine 28 s ago)");
        // The clock was set back.
        assert_eq!(at("22:13:00", 1), "degraded (version unknown) (worker: was restarted by the engine 0 s ago)");
        assert_eq!(at("22:13:51", 1), "running (version unknown)");
        assert_eq!(at("22:13:21", 0), "running (version unknown)");
    }

    #[test]
    fn a_restart_that_a_start_has_forgiven_shows_until_the_container_has_proved_itself() {
        let at = |time: &str| {
            let forgiven = Container { was_restarted_at_start: true, ..worker(2) };
            instance_at(format!("2023-11-14T{time}Z").parse().ok(), &[forgiven], &[]).to_string()
        };
        assert_eq!(at("22:13:21"), "degraded (version unknown) (worker: was restarted by the engine 0 s ago)");
        assert_eq!(at("22:13:23"), "running (version unknown)");
    }
}
