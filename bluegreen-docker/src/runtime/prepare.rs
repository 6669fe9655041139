//! Getting the images of a release to the engine, and recording which they are.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Clock, Error, ErrorKind, Reason, Result, SystemClock, Target, Version};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::arrangement::{Arrangement, arrange};
use super::records::{Attempt, ImageRecord, Record, Records};
use super::{ComposeRuntime, build, names, shared};
use crate::compose::{PullPolicy, Service};
use crate::engine::Engine;
use crate::image::{Pulled, Reference, digest_in_registry, find_local, pull};

/// How many images are fetched at a time, as the `docker` command does it for layers.
const AT_A_TIME: usize = 3;

/// One image that the release needs.
struct Wanted {
    reference: Reference,
    /// What the compose file says about fetching it, if anything.
    policy: Option<PullPolicy>,
    platform: Option<String>,
    /// Whether it may be built where it cannot be had, or must be.
    build: Build,
    services: Vec<String>,
    /// What was recorded when this version was prepared before.
    recorded: Option<ImageRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    /// The compose file does not say how.
    No,
    /// Where it is neither here nor in its registry.
    IfMissing,
    /// For each release anew, under a name that says which.
    Always,
}

impl Build {
    fn of(service: &Service, version: &Version) -> Self {
        match (&service.build, build::is_per_release(service, version)) {
            (None, _) => Self::No,
            (Some(_), true) => Self::Always,
            (Some(_), false) => Self::IfMissing,
        }
    }
}

pub(super) async fn prepare(runtime: &ComposeRuntime, target: &Target) -> Result<()> {
    let arrangement = Box::pin(arrange(runtime, target)).await?.accepted()?;
    let done = Box::pin(prepare_as(runtime, target, &arrangement)).await;
    done.map_err(|error| arrangement.warned(error))
}

async fn prepare_as(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<()> {
    let project = &arrangement.project;
    let own = runtime.inner.project_name(target.slot);
    names::are_free(&runtime.inner.engine, project, &own).await.map_err(Error::not_applied)?;
    let records = runtime.inner.records.read_all().await?;
    let recorded = records.releases.get(target.version());
    let accepts = runtime.inner.accept_changed_content;

    let mut wanted: BTreeMap<Reference, Wanted> = BTreeMap::new();
    for (name, service) in &project.services {
        let build = Build::of(service, target.version());
        let built = match build {
            Build::Always => Some(build::name(&runtime.inner.service, name, target.version())),
            Build::No | Build::IfMissing => None,
        };
        let text = built.as_deref().map_or_else(|| service.image(name), Ok)?;
        let reference: Reference = text.parse().map_err(|error: Error| {
            // The name may come from a variable that it should not come from.
            let masked = Error::config(runtime.inner.compose.mask.apply(error.message()).into_owned())
                .with("compose service", name);
            error.hint().map(str::to_owned).into_iter().fold(masked, Error::with_hint)
        })?;
        let (policy, platform) = (service.pull_policy(), service.platform.clone());
        let before = recorded.and_then(|record| record.images.get(name)).cloned();
        if let (Some(before), false) = (&before, accepts)
            && before.reference != text
        {
            return Err(changed(target, name, &before.reference, text));
        }
        let entry = wanted.entry(reference.clone());
        let wanted = entry.or_insert_with(|| Wanted {
            reference,
            policy,
            platform,
            build,
            services: Vec::new(),
            recorded: before,
        });
        wanted.services.push(name.clone());
    }
    if let (Some(record), false) = (recorded, accepts) {
        same_services(target, record, project)?;
    }
    if recorded.is_some() && !accepts {
        // All of them before any is fetched: fetching moves a tag.
        for image in wanted.values() {
            is_unchanged(&runtime.inner.engine, target, image).await?;
        }
    }

    shared::prepare(runtime, target, arrangement).await?;
    let attempt = note_absent(runtime, target, records.attempts.get(target.version()), wanted.values()).await?;
    let fetch = |image: Wanted| async move {
        let found = fetch(&runtime.inner.engine, target, &image, accepts).await?;
        Ok::<_, Error>((image, found))
    };
    let fetched: Vec<_> =
        stream::iter(wanted.into_values().map(fetch)).buffer_unordered(AT_A_TIME).try_collect().await?;
    let fetched = build_missing(runtime, target, fetched).await?;

    let mut images = BTreeMap::new();
    for (image, found) in fetched {
        // What another release brought here is still ours.
        let mut others = records.releases.values().flat_map(|record| record.images.values());
        let reference = image.reference.to_string();
        let mut attempts = records.attempts.values().chain(&attempt);
        // What is in no registry was built by someone, and was not fetched.
        let came_for_us = found.digest.is_some() && attempts.any(|attempt| attempt.absent.contains(&reference));
        let ours = found.ours || came_for_us || others.any(|other| other.ours && other.id == found.id);
        for service in image.services {
            let reference = reference.clone();
            let record = ImageRecord { reference, id: found.id.clone(), digest: found.digest.clone(), ours };
            images.insert(service, record);
        }
    }
    if attempt.is_none() && recorded.is_some_and(|record| record.images == images && !record.pruned) {
        return Ok(());
    }
    let record = Record { prepared: SystemClock.now(), images, pruned: false };
    let insert = |records: &mut Records| {
        records.attempts.remove(target.version());
        let before = records.releases.insert(target.version().clone(), record.clone());
        match before {
            Some(before) if !accepts => same_content(target, &before, &record),
            _ => Ok(()),
        }
    };
    runtime.inner.records.change(insert).await
}

/// Builds what could not be had otherwise, all of it by one call of Compose.
async fn build_missing(
    runtime: &ComposeRuntime,
    target: &Target,
    fetched: Vec<(Wanted, Option<Pulled>)>,
) -> Result<Vec<(Wanted, Pulled)>> {
    let (missing, mut all) = (fetched.iter().filter(|(_, found)| found.is_none()), Vec::new());
    let names: BTreeMap<String, String> = missing
        .flat_map(|(image, _)| image.services.iter().map(|name| (name.clone(), image.reference.to_string())))
        .collect();
    if !names.is_empty() {
        build::run(runtime, target, &names).await?;
    }
    for (image, found) in fetched {
        let found = match found {
            Some(found) => Some(found),
            None => {
                find_local(&runtime.inner.engine, &image.reference).await?.map(|found| Pulled { ours: true, ..found })
            }
        };
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "Compose succeeded, and did not build the image")
                .with("image", &image.reference)
        })?;
        all.push((image, found));
    }
    Ok(all)
}

/// Writes down what is not here before it is fetched. Returns this version's attempt, if anything is or was missing.
async fn note_absent(
    runtime: &ComposeRuntime,
    target: &Target,
    before: Option<&Attempt>,
    wanted: impl Iterator<Item = &Wanted>,
) -> Result<Option<Attempt>> {
    let engine = &runtime.inner.engine;
    let look = async |image: &Wanted| {
        let found = find_local(engine, &image.reference).await?;
        Ok::<_, Error>(found.is_none().then(|| image.reference.to_string()))
    };
    let absent = try_join_all(wanted.filter(|image| image.policy != Some(PullPolicy::Never)).map(look)).await?;
    let mut attempt = before.cloned().unwrap_or_else(|| Attempt { began: SystemClock.now(), absent: BTreeSet::new() });
    let known = attempt.absent.len();
    attempt.absent.extend(absent.into_iter().flatten());
    if attempt.absent.len() == known {
        return Ok(before.cloned());
    }
    let note = |records: &mut Records| {
        records.attempts.insert(target.version().clone(), attempt.clone());
        Ok(())
    };
    runtime.inner.records.change(note).await.map_err(Error::not_applied)?;
    Ok(Some(attempt))
}

fn same_content(target: &Target, before: &Record, now: &Record) -> Result<()> {
    for (service, image) in &now.images {
        if let Some(before) = before.images.get(service).filter(|before| !before.is_content_of(image)) {
            return Err(changed(target, service, content(before), content(image)));
        }
    }
    Ok(())
}

fn content(image: &ImageRecord) -> &str {
    image.digest.as_deref().unwrap_or(&image.id)
}

fn same_services(target: &Target, record: &Record, project: &crate::compose::Project) -> Result<()> {
    let (before, now): (Vec<_>, Vec<_>) = (record.images.keys().collect(), project.services.keys().collect());
    if before == now {
        return Ok(());
    }
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(conflict(format!("it had the services {}, and now has {}", list(before), list(now)), target))
}

fn changed(target: &Target, service: &str, before: &str, now: &str) -> Error {
    conflict(format!("its service {service} had {before}, and now has {now}"), target)
}

fn conflict(what: String, target: &Target) -> Error {
    Error::new(ErrorKind::Conflict, format!("this version was prepared before with other content: {what}"))
        .with_reason(Reason::OtherContent)
        .not_applied()
        .with("version", target.version())
        .with_hint("give changed content a new version, or allow it with `.accept_changed_content(true)`")
}

/// Asks whether the name still stands for what was recorded: the registry, or the engine where images are not fetched.
async fn is_unchanged(engine: &Engine, target: &Target, image: &Wanted) -> Result<()> {
    let Some(recorded) = image.recorded.as_ref().filter(|_| image.reference.digest.is_none()) else { return Ok(()) };
    let asks = matches!(image.policy, None | Some(PullPolicy::Always));
    let (true, Some(before)) = (asks, &recorded.digest) else {
        let found = find_local(engine, &image.reference).await?.filter(|found| found.id != recorded.id);
        let refused = found.map(|found| changed(target, &image.services.join(", "), &recorded.id, &found.id));
        return refused.map_or(Ok(()), Err);
    };
    match digest_in_registry(engine, &image.reference).await {
        Ok(now) if now == *before => Ok(()),
        Ok(now) => Err(changed(target, &image.services.join(", "), before, &now)),
        // What was prepared is here, so this release can go on without its registry, at a rollback for instance.
        Err(error) if error.kind() == ErrorKind::Unreachable && is_here(engine, image).await?.is_some() => {
            tracing::warn!(image = %image.reference, error = %error.chain(), "using the image that is here already");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The image that was recorded, if the engine still has it.
async fn is_here(engine: &Engine, image: &Wanted) -> Result<Option<Pulled>> {
    let Some(recorded) = &image.recorded else { return Ok(None) };
    let exact = match &recorded.digest {
        Some(digest) => Reference { digest: Some(digest.clone()), ..image.reference.clone() },
        None => image.reference.clone(),
    };
    let found = find_local(engine, &exact).await?.filter(|found| found.id == recorded.id);
    Ok(found.map(|found| Pulled { digest: recorded.digest.clone(), ours: recorded.ours, ..found }))
}

/// `None` for what is to be built.
async fn fetch(engine: &Engine, target: &Target, image: &Wanted, accepts: bool) -> Result<Option<Pulled>> {
    // With changed content accepted, the name may stand for other content by now.
    let known = if accepts { None } else { is_here(engine, image).await? };
    if known.is_some() || image.build == Build::Always {
        return Ok(known);
    }
    let may_be_here = matches!(image.policy, Some(PullPolicy::Missing | PullPolicy::Never)) || image.build != Build::No;
    let here = match may_be_here || image.reference.digest.is_some() {
        true => find_local(engine, &image.reference).await?,
        false => None,
    };
    if here.is_some() {
        return Ok(here);
    }
    if image.policy == Some(PullPolicy::Never) {
        return match image.build {
            Build::No => Err(Error::new(ErrorKind::NotFound, "the engine does not have the image")
                .not_applied()
                .with("image", &image.reference)
                .with_hint("its `pull_policy` says that it is not fetched: build it on the engine's machine first")),
            Build::IfMissing | Build::Always => Ok(None),
        };
    }
    let error = match pull(engine, &image.reference, image.platform.as_deref(), &target.progress).await {
        Ok(found) => {
            let ours = found.ours || image.recorded.as_ref().is_some_and(|before| before.ours && before.id == found.id);
            return Ok(Some(Pulled { ours, ..found }));
        }
        Err(error) => error,
    };
    // Docker Hub refuses what it does not have as it refuses what one may not see.
    let has_none = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthorized | ErrorKind::Unreachable);
    if image.build == Build::IfMissing && has_none {
        tracing::info!(image = %image.reference, error = %error.chain(), "not to be had, so it is built");
        return Ok(None);
    }
    if image.policy.is_none()
        && has_none
        && let Some(found) = find_local(engine, &image.reference).await?
    {
        tracing::warn!(image = %image.reference, error = %error.chain(), "using the image that is on the engine");
        return Ok(Some(found));
    }
    Err(error)
}
