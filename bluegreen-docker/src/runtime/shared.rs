//! Services that both slots use: brought up once, in a project of their own, and left alone from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result, Secret, Slot, Target};
use serde_json::json;

use super::arrangement::Arrangement;
use super::expected::expected;
use super::{ComposeRuntime, Inner};
use crate::analysis;
use crate::compose::{Patch, Project, Said, SlotFiles};
use crate::image::{Reference, find_local, pull};
use crate::labels;
use crate::slot::container::{Container, TO_PROVE_ITSELF, services_of};
use crate::slot::group::Group;
use crate::slot::owner::is_ours;
use crate::slot::readiness::Readiness;
use crate::slot::watch::Known;

/// What `${SLOT}` stands for in them.
const SLOT: &str = "shared";

/// The files of their project.
const FILE: &str = "shared.compose.yaml";

/// Gets the images of what is not there to the engine.
pub(super) async fn prepare(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<()> {
    let inner = &*runtime.inner;
    if inner.wishes.shared.is_empty() {
        return Ok(());
    }
    for note in notes(runtime, target, arrangement).await? {
        tracing::warn!(project = inner.shared_project, "{note}");
    }
    let found = own(inner).await?;
    let project = services(inner, arrangement);
    for (name, service) in project.services.iter().filter(|(name, _)| !is_there(&found, name)) {
        // Compose builds what it brings up, where it is not there.
        if service.build.is_none() {
            let reference: Reference = service.image(name)?.parse()?;
            if find_local(&inner.slots.engine, &reference).await?.is_none() {
                pull(&inner.slots.engine, &reference, service.platform.as_deref(), &target.progress).await?;
            }
        }
    }
    Ok(())
}

/// Brings up what is not there, and waits until all of them are ready.
pub(super) async fn bring_up(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<()> {
    let inner = &*runtime.inner;
    if inner.wishes.shared.is_empty() {
        return Ok(());
    }
    let brought = async {
        let found = own(inner).await?;
        let project = services(inner, arrangement);
        are_in_reach(inner, target.slot, &found, &project)?;
        let missing: Vec<_> = project.services.keys().filter(|name| !is_there(&found, name)).cloned().collect();
        // No health check asks them: one that has just come up must show that it stays.
        let stabilization_time =
            if missing.is_empty() { Duration::ZERO } else { inner.slots.stabilization_time.max(TO_PROVE_ITSELF) };
        let expected = expected(&project, &inner.wishes);
        let readiness = Readiness::of_start(expected, &found, stabilization_time, inner.slots.restarts_allowed);
        let known = Known::new(&inner.slots.engine, readiness).await?;
        let group = Group::project(&inner.shared_project);
        let mut watch = inner.slots.watch(&group, known);
        if !missing.is_empty() {
            watch.during(up(runtime, target, arrangement, &missing)).await?;
        }
        watch.until_ready().await
    };
    brought.await.map_err(|error: Error| {
        error.with_operation("bring up the shared services").with("project", &inner.shared_project)
    })
}

async fn up(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement, missing: &[String]) -> Result<()> {
    let inner = &*runtime.inner;
    inner
        .state
        .write(FILE, patch(runtime, target, arrangement).to_yaml().as_bytes())
        .await
        .map_err(Error::not_applied)?;
    let files = SlotFiles { overlay: inner.state.file(FILE), lock: inner.state.file("shared.lock") };
    let command = inner.compose.command(&inner.slots.engine, &inner.shared_project, target, Some(&files)).await?;
    let command = command.env("SLOT", Secret::new(SLOT)).called("docker compose up");
    // What runs is never made anew, whatever the file says by now.
    let command =
        command.args(["up", "-d", "--no-recreate"]).args(missing.iter().cloned()).timeout(inner.slots.start_deadline);
    inner.compose.run(&command).await?.ok(&command, &inner.compose.host).map(drop)
}

/// The file of their project that comes last.
fn patch(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Patch {
    let mut patch = analysis::shared_project(&arrangement.question(runtime, target));
    let jobs = runtime.inner.wishes.jobs_of(&arrangement.whole);
    for name in &runtime.inner.wishes.shared {
        // No version: what runs stays the same from one to the next.
        let mut labels = json!({labels::SERVICE: runtime.inner.slots.service.as_str(), labels::SLOT: SLOT});
        if jobs.contains(name) {
            labels[labels::JOB] = json!("true");
        }
        patch.set(["services", name, "labels"], Said::Merged(labels));
    }
    patch
}

/// What a reader of a plan should know of them.
pub(super) async fn notes(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<Vec<String>> {
    let inner = &*runtime.inner;
    if inner.wishes.shared.is_empty() {
        return Ok(Vec::new());
    }
    let (found, project) = (own(inner).await?, &inner.shared_project);
    let mut notes = Vec::new();
    let wanted = hashes(runtime, target, arrangement).await?;
    for name in &inner.wishes.shared {
        let mut own = found.iter().filter(|container| container.service == *name);
        let hash = wanted.get(name);
        if !is_there(&found, name) {
            notes.push(format!(
                "{name} is shared by both slots and does not run: it is brought up in the project {project}"
            ));
        } else if own.any(|container| container.label(labels::COMPOSE_HASH) != hash.map(String::as_str)) {
            notes.push(format!(
                "{name} is shared by both slots, and the file says otherwise than what runs: no deploy changes it; `docker compose \
                 -p {project}` with the compose files and {} does",
                inner.state.file(FILE)
            ));
        }
    }
    Ok(notes)
}

/// Why the slots are not whole, because of a service that they share.
pub(super) async fn ailments(inner: &Inner) -> Result<Vec<String>> {
    if inner.wishes.shared.is_empty() {
        return Ok(Vec::new());
    }
    let found = services_of(&inner.slots.engine, &Group::project(&inner.shared_project)).await?;
    let missing = inner.wishes.shared.iter().filter(|name| !is_there(&found, name));
    let why = |name: &String| {
        let container = found.iter().find(|container| container.service == *name);
        container.map_or_else(|| "no container".to_owned(), Container::ending)
    };
    Ok(missing.map(|name| format!("{name}, which is shared: {}", why(name))).collect())
}

async fn own(inner: &Inner) -> Result<Vec<Container>> {
    let found = services_of(&inner.slots.engine, &Group::project(&inner.shared_project)).await?;
    is_ours(&found, &inner.slots.service, &Group::project(&inner.shared_project))?;
    Ok(found)
}

fn is_there(found: &[Container], name: &str) -> bool {
    let mut own = found.iter().filter(|container| container.service == name).peekable();
    own.peek().is_some() && own.all(|container| container.is_alive() || (container.is_job() && container.is_done()))
}

/// The project with the shared services alone.
fn services(inner: &Inner, arrangement: &Arrangement) -> Project {
    let mut project = arrangement.whole.clone();
    project.services.retain(|name, service| inner.wishes.shared.contains(name) && service.is_wanted());
    project
}

/// What was brought up by hand, or before it was shared, is on networks of its own.
fn are_in_reach(inner: &Inner, slot: Slot, found: &[Container], project: &Project) -> Result<()> {
    let network = format!("{}_{slot}", inner.shared_project);
    let of_network = |container: &&Container| {
        let service = project.services.get(&container.service);
        service.is_some_and(|service| !service.attachments().is_empty())
    };
    let apart: BTreeSet<_> = found
        .iter()
        .filter(|container| container.is_alive())
        .filter(of_network)
        .filter(|container| !container.networks.contains(&network))
        .map(|container| container.service.as_str())
        .collect();
    if apart.is_empty() {
        return Ok(());
    }
    let names = apart.into_iter().collect::<Vec<_>>().join(", ");
    let what = format!("{names} runs, and is not on the network {network}, over which the slot would reach it");
    Err(Error::new(ErrorKind::Conflict, what).not_applied().with_hint(format!(
        "it was started by something else, and a deploy does not restart it: stop and remove its container (its named volumes \
         stay), and the next deploy brings it up; or `docker network connect --alias {names} {network}` it"
    )))
}

/// What Compose would label each of them with.
async fn hashes(
    runtime: &ComposeRuntime,
    target: &Target,
    arrangement: &Arrangement,
) -> Result<BTreeMap<String, String>> {
    let inner = &*runtime.inner;
    let overlay = patch(runtime, target, arrangement).to_yaml();
    let command = inner.compose.command_with(&inner.slots.engine, &inner.shared_project, target, &overlay).await?;
    let command =
        command.env("SLOT", Secret::new(SLOT)).args(["config", "--hash", "*"]).called("docker compose config");
    let output = inner.compose.run(&command).await?.ok(&command, &inner.compose.host)?;
    let text = output.text();
    let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
    Ok(pairs.map(|(name, hash)| (name.to_owned(), hash.trim().to_owned())).collect())
}
