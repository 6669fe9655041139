//! Getting the images of a release to the engine, and recording which they are.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Clock, Error, ErrorKind, Reason, Result, SystemClock, Target};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::records::{Attempt, ImageRecord, Record, Records};
use super::slots::Slots;
use crate::engine::Engine;
use crate::image::{PullPolicy, Pulled, Reference, digest_in_registry, find_local, pull};

/// How many images are fetched at a time, as the `docker` command does it for layers.
const AT_A_TIME: usize = 3;

/// One image that the release needs.
pub(crate) struct Wanted {
    pub(crate) reference: Reference,
    /// What the user says about fetching it, if anything.
    pub(crate) policy: Option<PullPolicy>,
    pub(crate) platform: Option<String>,
    /// Whether it may be built where it cannot be had, or must be.
    pub(crate) build: Build,
    pub(crate) services: Vec<String>,
    /// What was recorded when this version was prepared before.
    pub(crate) recorded: Option<ImageRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Nobody says how.
    No,
    /// Where it is neither here nor in its registry.
    IfMissing,
    /// For each release anew, under a name that says which.
    Always,
}

/// What was fetched; without an image that is to be built.
pub(crate) struct Fetched {
    pub(crate) images: Vec<(Wanted, Option<Pulled>)>,
    pub(crate) attempt: Option<Attempt>,
}

/// Refuses a version that stood for other content before. Asked of all images before any is fetched: fetching moves a tag.
pub(crate) async fn are_unchanged(slots: &Slots, target: &Target, wanted: &[Wanted]) -> Result<()> {
    if slots.accept_changed_content {
        return Ok(());
    }
    for image in wanted {
        is_unchanged(&slots.engine, target, image).await?;
    }
    Ok(())
}

/// Whether a fetch would find the image. Nothing is fetched.
pub(crate) async fn can_be_had(engine: &Engine, image: &Wanted) -> Result<()> {
    if is_here(engine, image).await?.is_some() {
        return Ok(());
    }
    match digest_in_registry(engine, &image.reference).await {
        Err(error) if find_local(engine, &image.reference).await?.is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Gets them to the engine.
pub(crate) async fn fetch_all(
    slots: &Slots,
    target: &Target,
    records: &Records,
    wanted: Vec<Wanted>,
) -> Result<Fetched> {
    let attempt = note_absent(slots, target, records.attempts.get(target.version()), wanted.iter()).await?;
    let fetch = |image: Wanted| async move {
        let found = fetch(&slots.engine, target, &image, slots.accept_changed_content).await?;
        Ok::<_, Error>((image, found))
    };
    let images = stream::iter(wanted.into_iter().map(fetch)).buffer_unordered(AT_A_TIME).try_collect().await?;
    Ok(Fetched { images, attempt })
}

/// Records what a version stands for from now on. `fetched` is what came of [`fetch_all`], with what was built.
pub(crate) async fn record(
    slots: &Slots,
    target: &Target,
    records: &Records,
    attempt: Option<Attempt>,
    fetched: Vec<(Wanted, Pulled)>,
) -> Result<()> {
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
    if attempt.is_none()
        && records.releases.get(target.version()).is_some_and(|record| record.images == images && !record.pruned)
    {
        return Ok(());
    }
    let record = Record { prepared: SystemClock.now(), images, pruned: false };
    let insert = |records: &mut Records| {
        records.attempts.remove(target.version());
        let before = records.releases.insert(target.version().clone(), record.clone());
        match before {
            Some(before) if !slots.accept_changed_content => same_content(target, &before, &record),
            _ => Ok(()),
        }
    };
    slots.records.change(insert).await
}

/// Writes down what is not here before it is fetched. Returns this version's attempt, if anything is or was missing.
async fn note_absent(
    slots: &Slots,
    target: &Target,
    before: Option<&Attempt>,
    wanted: impl Iterator<Item = &Wanted>,
) -> Result<Option<Attempt>> {
    let engine = &slots.engine;
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
    slots.records.change(note).await.map_err(Error::not_applied)?;
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

pub(crate) fn changed(target: &Target, service: &str, before: &str, now: &str) -> Error {
    conflict(format!("its service {service} had {before}, and now has {now}"), target)
}

pub(crate) fn conflict(what: String, target: &Target) -> Error {
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
