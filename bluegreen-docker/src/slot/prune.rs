//! Removing the images of old releases.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Error, ErrorKind, Result, Version};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveImageOptions};
use futures::future::try_join_all;

use super::container::{Container, services_of};
use super::records::{Attempt, ImageRecord, Records};
use super::slots::Slots;
use crate::engine::{Engine, if_found, quick};
use crate::image::{Pulled, Reference, find_local};

/// What [`ComposeRuntime::prune`](crate::ComposeRuntime::prune) or [`ContainerRuntime::prune`](crate::ContainerRuntime::prune) removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The versions whose images are no longer on the engine, as far as they were ours to remove.
    pub versions: Vec<Version>,
    /// The names of the images that were removed.
    pub images: Vec<String>,
}

pub(crate) async fn prune(slots: &Slots, keep: usize) -> Result<Pruned> {
    let engine = &slots.engine;
    let records = slots.records.read_all().await?;
    let mut kept = newest(&records, keep);
    for group in slots.groups.iter() {
        let containers = services_of(engine, group).await?;
        kept.extend(containers.iter().filter_map(Container::version));
    }
    let in_use = used_by_containers(engine).await?;
    let of_kept = records.releases.iter().filter(|(version, _)| kept.contains(*version));
    let of_kept: BTreeSet<String> =
        of_kept.flat_map(|(_, record)| record.images.values().map(|image| image.id.clone())).collect();

    let old = records.releases.iter().filter(|(version, record)| !record.pruned && !kept.contains(*version));
    let mut old: BTreeMap<&Version, Vec<ImageRecord>> =
        old.map(|(version, record)| (version, record.images.values().cloned().collect())).collect();
    let given_up: BTreeMap<_, _> = records
        .attempts
        .iter()
        .filter(|(version, attempt)| !kept.contains(*version) && is_given_up(attempt, &records, keep))
        .collect();
    for (version, attempt) in &given_up {
        old.entry(version).or_default().extend(fetched(engine, attempt).await?);
    }
    let mut pruned = Pruned::default();
    for (version, images) in old {
        let mut all = true;
        // What a newer release needs too goes with that one.
        for image in images.iter().filter(|image| image.ours && !of_kept.contains(&image.id)) {
            match in_use.contains(&image.id) {
                true => all = false,
                false => all &= remove(engine, image, &mut pruned.images).await?,
            }
        }
        if all {
            pruned.versions.push(version.clone());
        }
    }
    // The record stays: it is what tells that a version was used before, and for what.
    let mark = |now: &mut Records| {
        for version in &pruned.versions {
            // One that was prepared again meanwhile has its images again.
            let same = now.releases.get_mut(version).filter(|record| Some(&**record) == records.releases.get(version));
            if let Some(record) = same {
                record.pruned = true;
            }
            now.attempts.retain(|of, attempt| of != version || given_up.get(version) != Some(&&*attempt));
        }
        Ok(())
    };
    if !pruned.versions.is_empty() {
        slots.records.change(mark).await?;
    }
    Ok(pruned)
}

fn newest(records: &Records, keep: usize) -> BTreeSet<Version> {
    let mut by_time: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (version, record) in records.releases.iter().filter(|(_, record)| !record.pruned) {
        by_time.entry(record.prepared).or_default().push(version.clone());
    }
    by_time.into_values().rev().flatten().take(keep).collect()
}

/// Whether so many releases were prepared since that it counts as old.
fn is_given_up(attempt: &Attempt, records: &Records, keep: usize) -> bool {
    let since = records.releases.values().filter(|record| !record.pruned && record.prepared > attempt.began);
    since.count() >= keep
}

/// What came of an attempt. An image that is in no registry was built by someone, and was not fetched.
async fn fetched(engine: &Engine, attempt: &Attempt) -> Result<Vec<ImageRecord>> {
    let look = async |name: &String| {
        let found = find_local(engine, &name.parse()?).await?.filter(|found| found.digest.is_some());
        let record =
            |found: Pulled| ImageRecord { reference: name.clone(), id: found.id, digest: found.digest, ours: true };
        Ok::<_, Error>(found.map(record))
    };
    Ok(try_join_all(attempt.absent.iter().map(look)).await?.into_iter().flatten().collect())
}

/// The images of all containers of the engine, whoever made them, and whether they run or not.
async fn used_by_containers(engine: &Engine) -> Result<BTreeSet<String>> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let listed = quick("list all containers", engine.docker().await?.list_containers(Some(options))).await?;
    Ok(listed.into_iter().filter_map(|container| container.image_id).collect())
}

/// Removes the names under which an image came here. Never by force: the engine keeps what anything else uses.
async fn remove(engine: &Engine, image: &ImageRecord, removed: &mut Vec<String>) -> Result<bool> {
    let Ok(reference) = image.reference.parse::<Reference>() else { return Ok(true) };
    let mut names = vec![reference.to_string()];
    names.extend(image.digest.as_ref().map(|digest| reference.by_digest(digest)));
    for name in names {
        let stands_for = find_local(engine, &name.parse()?).await?.map(|found| found.id);
        if stands_for.as_deref() != Some(image.id.as_str()) {
            // It is gone, or the name is another image's by now.
            continue;
        }
        let docker = engine.docker().await?;
        let done = quick("remove an image", docker.remove_image(&name, None::<RemoveImageOptions>, None)).await;
        match if_found(done) {
            Ok(_) => removed.push(name),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::info!(image = name, "in use, so it stays");
                return Ok(false);
            }
            Err(error) => return Err(error.with("image", name)),
        }
    }
    Ok(true)
}
