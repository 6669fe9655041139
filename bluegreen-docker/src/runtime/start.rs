//! Bringing a slot's project up, and waiting until it is ready.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bluegreen_core::{Error, ErrorKind, Instance, Output, Result, Target};

use super::arrangement::{Arrangement, arrange};
use super::expected::expected;
use super::ports::Choice;
use super::{ComposeRuntime, names, shared};
use crate::compose::{Overlay, OwnPorts, Project, SlotFiles};
use crate::labels;
use crate::slot::container::{Container, services_of};
use crate::slot::readiness::Readiness;
use crate::slot::slots::Slots;
use crate::slot::start_notes::StartNotes;
use crate::slot::used_ports::Taken;
use crate::slot::watch::Known;
use crate::slot::{failure, occupant};
use crate::wishes::Wishes;

pub(super) async fn start(runtime: &ComposeRuntime, target: &Target) -> Result<Instance> {
    let before = runtime.inner.slots.services(target.slot).await?;
    occupant::is_not_another(&before, target)?;

    let arrangement = Box::pin(arrange(runtime, target)).await?.accepted()?;
    let done = Box::pin(start_as(runtime, target, &arrangement, &before)).await;
    done.map_err(|error| arrangement.warned(error))
}

async fn start_as(
    runtime: &ComposeRuntime,
    target: &Target,
    arrangement: &Arrangement,
    before: &[Container],
) -> Result<Instance> {
    let inner = &*runtime.inner;
    let group = &inner.slots.groups[target.slot];
    let project = &arrangement.project;
    Box::pin(shared::bring_up(runtime, target, arrangement)).await?;
    let Slots { stabilization_time, restarts_allowed, .. } = inner.slots;
    let expected = expected(project, &inner.wishes);
    let readiness = Readiness::of_start(expected, before, stabilization_time, restarts_allowed);
    // From before anything is started, so that no end of a container goes unheard.
    let known = Known::new(&inner.slots.engine, readiness).await?;
    let mut watch = inner.slots.watch(group, known);
    if !is_whole(before, project, &inner.wishes) {
        let ports = ports(runtime, target, project, before).await?;
        let files = write_overlay(runtime, target, arrangement, before, &ports).await?;
        let running = before.iter().any(Container::is_alive);
        watch.during(Box::pin(up(runtime, target, project, &files, running))).await?;
    }
    Box::pin(watch.until_ready()).await?;

    let after = services_of(&inner.slots.engine, group).await.map_err(Error::maybe_applied)?;
    is_all_there(&after, project, target)?;
    inner.slots.brought_up.put(target, watch.into_known());
    StartNotes::of(&after).write(&inner.slots.records, target.slot).await.map_err(Error::maybe_applied)?;
    let mut accepted = after.clone();
    StartNotes::apply(&inner.slots.records, target.slot, &mut accepted).await.map_err(Error::maybe_applied)?;
    let instance = inner.instance(&accepted).await.map_err(Error::maybe_applied)?;
    has_all_endpoints(&instance, runtime)?;
    Ok(instance)
}

/// Whether all that the release needs runs, or has done its work.
fn is_whole(found: &[Container], project: &Project, wishes: &Wishes) -> bool {
    let (jobs, may_wait) = (wishes.jobs_of(project), &wishes.only_while_live);
    let runs = |name: &String, replicas: u32| {
        let own = || found.iter().filter(|container| container.service == *name);
        own().count() >= replicas as usize
            && own().all(|container| container.is_alive() || jobs.contains(name) || may_wait.contains(name))
    };
    let mut wanted = project.services.iter().filter(|(_, service)| service.is_wanted());
    wanted.all(|(name, service)| runs(name, service.replicas())) && found.iter().any(Container::is_alive)
}

/// Chooses the ports that the slot's endpoints have from now on.
pub(super) async fn ports(
    runtime: &ComposeRuntime,
    target: &Target,
    project: &Project,
    before: &[Container],
) -> Result<BTreeMap<String, OwnPorts>> {
    let inner = &*runtime.inner;
    if inner.wishes.endpoints.is_empty() && project.services.values().all(|service| service.ports.is_empty()) {
        return Ok(BTreeMap::new());
    }
    let groups = &inner.slots.groups;
    let (own, other) = (&groups[target.slot], &groups[target.slot.other()]);
    let choice = Choice {
        project,
        group: own,
        slot: target.slot,
        endpoints: &inner.wishes.endpoints,
        before,
        taken: Taken::by_others(&inner.slots.engine, own, before, other).await?,
        replaces: inner.compose.program().await?.replaces(),
        as_written: inner.wishes.as_written,
    };
    choice.make()
}

/// Writes our own compose file of the slot.
pub(super) async fn write_overlay(
    runtime: &ComposeRuntime,
    target: &Target,
    arrangement: &Arrangement,
    before: &[Container],
    ports: &BTreeMap<String, OwnPorts>,
) -> Result<SlotFiles> {
    let project = &arrangement.project;
    let records = runtime.inner.slots.records.read_all().await?;
    let record = records.prepared(target.version())?;
    let image = |name: &String| Ok((name.clone(), record.exact_image(name)?));
    let images = project.services.keys().map(image).collect::<Result<_>>()?;
    // Of what runs already, the labels stay as they are: Compose would make it anew for any other.
    let operation = before.iter().filter(|container| container.is_alive());
    let operation = operation.filter_map(|container| container.label(labels::OPERATION)).next();
    let overlay = Overlay {
        target,
        project,
        project_name: runtime.inner.project_name(target.slot),
        changes: &arrangement.findings.patch,
        images: &images,
        ports,
        jobs: &runtime.inner.wishes.jobs_of(project),
        only_while_live: &runtime.inner.wishes.only_while_live,
        v1: runtime.inner.compose.program().await?.is_v1(),
        operation: operation.unwrap_or(target.operation.as_str()),
    };
    let (state, name) = (&runtime.inner.state, format!("{}.compose.yaml", target.slot));
    state.write(&name, overlay.to_yaml().as_bytes()).await.map_err(Error::not_applied)?;
    Ok(SlotFiles { overlay: state.file(&name), lock: state.lock(target.slot) })
}

async fn up(
    runtime: &ComposeRuntime,
    target: &Target,
    project: &Project,
    files: &SlotFiles,
    running: bool,
) -> Result<()> {
    let inner = &*runtime.inner;
    let name = inner.project_name(target.slot);
    let waits = |name: &&String| inner.wishes.only_while_live.contains(*name);
    let (later, now): (Vec<_>, Vec<_>) = project.services.keys().partition(waits);
    let mut calls = vec![(vec!["up", "-d", "--no-build", "--remove-orphans"], now)];
    if !later.is_empty() {
        // Made with its slot, so that the shift needs nothing but the engine.
        calls.push((vec!["up", "--no-start", "--no-deps", "--no-build"], later));
    } else {
        calls[0].1.clear();
    }
    for (words, services) in calls {
        let command = inner.compose.command(&inner.slots.engine, name, target, Some(files)).await?;
        let mut command = command.args(words).timeout(inner.slots.start_deadline).called("docker compose up");
        if running {
            // A start that was cut off: what it has started stays.
            command = command.arg("--no-recreate");
        }
        let command = command.args(services.into_iter().cloned());
        let output = inner.compose.run(&command).await?;
        if !output.success() {
            let error = explained(&output, output.clone().ok(&command, &inner.compose.host).err());
            // What Compose says of a container that ended is less than what the engine knows of it.
            let dead = services_of(&inner.slots.engine, &inner.slots.groups[target.slot]).await.unwrap_or_default();
            return Err(failure::of_dead(&inner.slots.engine, &inner.slots.mask, &dead, error).await);
        }
    }
    Ok(())
}

fn explained(output: &Output, error: Option<Error>) -> Error {
    let error = error.unwrap_or_else(|| Error::new(ErrorKind::Unexpected, output.ending()));
    let text = output.error_text();
    let (what, advice) = if text.contains("port is already allocated") || text.contains("address already in use") {
        ("a port that the slot is to have is taken", PORTS)
    } else if text.contains("container name") && text.contains("already in use") {
        ("a name that a container of the slot is to have is taken", names::ADVICE)
    } else {
        return error;
    };
    Error::new(ErrorKind::Conflict, what).with_source(error).with_hint(advice)
}

const PORTS: &str = "two slots cannot share a port: let the engine choose it (`127.0.0.1::3000`, or no `ports:` and an \
                     `.endpoint(..)`)";

/// Compose v1 prints its usage and succeeds when it does not know an option: only the engine tells what was done.
fn is_all_there(found: &[Container], project: &Project, target: &Target) -> Result<()> {
    let versions: HashMap<_, _> = found.iter().map(|container| (&*container.service, container.version())).collect();
    let wanted: BTreeSet<_> =
        project.services.iter().filter(|(_, service)| service.is_wanted()).map(|(name, _)| name.as_str()).collect();
    for name in wanted {
        let what = match versions.get(name) {
            None => format!("Compose succeeded, and there is no container of {name}"),
            Some(Some(version)) if version == target.version() => continue,
            Some(Some(version)) => format!("Compose succeeded, and the container of {name} is of {version}"),
            Some(None) => format!("Compose succeeded, and the container of {name} has no version"),
        };
        return Err(Error::new(ErrorKind::Unexpected, what).with("slot", target.slot));
    }
    Ok(())
}

fn has_all_endpoints(instance: &Instance, runtime: &ComposeRuntime) -> Result<()> {
    for endpoint in &runtime.inner.wishes.endpoints {
        if instance.endpoint(Some(&endpoint.name)).is_none() {
            return Err(Error::config(format!(
                "the container of {} publishes no port {} for the endpoint {}",
                endpoint.service, endpoint.port, endpoint.name
            ))
            .maybe_applied()
            .with_hint("`docker ps` shows the ports; `network_mode: host` and `none` have none"));
        }
    }
    Ok(())
}
