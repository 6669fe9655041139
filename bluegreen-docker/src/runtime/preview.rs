//! What a deploy would make of the compose files, for a plan.

use std::collections::BTreeMap;

use bluegreen_core::{Preview, Result, Target};
use serde_json::json;

use super::arrangement::{Arrangement, arrange};
use super::{ComposeRuntime, build, shared, start};
use crate::compose::{Said, difference};
use crate::slot::records::{ImageRecord, Records};

pub(super) async fn preview(runtime: &ComposeRuntime, target: &Target) -> Result<Preview> {
    let arrangement = arrange(runtime, target).await?.accepted()?;
    preview_of(runtime, target, &arrangement).await.map_err(|error| arrangement.warned(error))
}

async fn preview_of(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<Preview> {
    let inner = &*runtime.inner;
    let mut notes = arrangement.whole.warnings.clone();
    notes.extend(arrangement.findings.notes.iter().cloned());
    notes.extend(shared::notes(runtime, target, arrangement).await?);
    notes.extend(same_images(&inner.slots.records.read_all().await?, target, arrangement));
    let preview = notes.into_iter().fold(Preview::default(), Preview::note);
    let changes = changes(runtime, target, arrangement).await?;
    Ok(match changes.is_empty() {
        true => preview,
        false => {
            let (files, project) = (inner.compose.files.join(" "), inner.project_name(target.slot));
            preview.changes(format!("--- {files}\n+++ {project}\n{}", changes.join("\n")))
        }
    })
}

/// The resolved configuration before and after: without the labels and the exact images that every release gets.
async fn changes(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<Vec<String>> {
    let inner = &*runtime.inner;
    let mut patch = arrangement.findings.patch.clone();
    let before = inner.slots.services(target.slot).await?;
    for (service, ports) in start::ports(runtime, target, &arrangement.project, &before).await? {
        patch.set(["services", &service, "ports"], ports.said());
    }
    for (name, service) in &arrangement.project.services {
        if build::is_per_release(service, target.version()) {
            let image = build::name(&inner.slots.service, name, target.version());
            patch.set(["services", name, "image"], Said::Merged(json!(image)));
        }
    }
    // What an older Compose could be told only adds ports of the endpoints, and it reads no file from us without one on disk.
    if patch.is_empty() || !inner.compose.program().await?.replaces() {
        return Ok(Vec::new());
    }
    let (compose, project) = (&inner.compose, inner.project_name(target.slot));
    let plain = compose.command(&inner.slots.engine, project, target, None).await?;
    let changed = compose.command_with(&inner.slots.engine, project, target, &patch.to_yaml()).await?;
    let (before, after) = futures::try_join!(compose.resolved(plain), compose.resolved(changed))?;
    Ok(difference(&before, &after).iter().map(|line| compose.mask.apply(line).into_owned()).collect())
}

/// A version that runs the very images of another one is most often one whose file does not name `${VERSION}`.
fn same_images(records: &Records, target: &Target, arrangement: &Arrangement) -> Option<String> {
    let services = &arrangement.project.services;
    if services.values().any(|service| build::is_per_release(service, target.version())) {
        return None;
    }
    let is_same = |images: &BTreeMap<String, ImageRecord>| {
        images.len() == services.len()
            && services.iter().all(|(name, service)| {
                images.get(name).is_some_and(|image| Some(&*image.reference) == service.image.as_deref())
            })
    };
    records.newest_other(target.version(), is_same).map(|other| {
        format!("{} names the same images as {other}: is there a `${{VERSION}}` in the compose file?", target.version())
    })
}
