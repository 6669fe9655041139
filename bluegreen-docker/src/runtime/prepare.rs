//! Which images a release needs, and getting them.

use std::collections::BTreeMap;

use bluegreen_core::{Error, ErrorKind, Result, Target};

use super::arrangement::{Arrangement, arrange};
use super::{ComposeRuntime, build, names, shared};
use crate::image::{Pulled, Reference, find_local};
use crate::slot::fetch::{self, Build, Fetched, Wanted};
use crate::slot::records::Record;

pub(super) async fn prepare(runtime: &ComposeRuntime, target: &Target) -> Result<()> {
    let arrangement = Box::pin(arrange(runtime, target)).await?.accepted()?;
    let done = Box::pin(prepare_as(runtime, target, &arrangement)).await;
    done.map_err(|error| arrangement.warned(error))
}

async fn prepare_as(runtime: &ComposeRuntime, target: &Target, arrangement: &Arrangement) -> Result<()> {
    let project = &arrangement.project;
    let slots = &runtime.inner.slots;
    names::are_free(&slots.engine, project, &slots.groups[target.slot]).await.map_err(Error::not_applied)?;
    let records = slots.records.read_all().await?;
    let recorded = records.releases.get(target.version());
    let accepts = slots.accept_changed_content;

    let mut wanted: BTreeMap<Reference, Wanted> = BTreeMap::new();
    for (name, service) in &project.services {
        let build = build::of(service, target.version());
        let built = match build {
            Build::Always => Some(build::name(&slots.service, name, target.version())),
            Build::No | Build::IfMissing => None,
        };
        let text = built.as_deref().map_or_else(|| service.image(name), Ok)?;
        let reference: Reference = text.parse().map_err(|error: Error| {
            // The name may come from a variable that it should not come from.
            let masked = Error::config(slots.mask.apply(error.message()).into_owned()).with("compose service", name);
            error.hint().map(str::to_owned).into_iter().fold(masked, Error::with_hint)
        })?;
        let (policy, platform) = (service.pull_policy(), service.platform.clone());
        let before = recorded.and_then(|record| record.images.get(name)).cloned();
        if let (Some(before), false) = (&before, accepts)
            && before.reference != text
        {
            return Err(fetch::changed(target, name, &before.reference, text));
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
    let wanted: Vec<_> = wanted.into_values().collect();
    fetch::are_unchanged(slots, target, &wanted).await?;
    shared::prepare(runtime, target, arrangement).await?;
    let Fetched { images, attempt } = fetch::fetch_all(slots, target, &records, wanted).await?;
    let built = build_missing(runtime, target, images).await?;
    fetch::record(slots, target, &records, attempt, built).await
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
            None => find_local(&runtime.inner.slots.engine, &image.reference)
                .await?
                .map(|found| Pulled { ours: true, ..found }),
        };
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "Compose succeeded, and did not build the image")
                .with("image", &image.reference)
        })?;
        all.push((image, found));
    }
    Ok(all)
}

fn same_services(target: &Target, record: &Record, project: &crate::compose::Project) -> Result<()> {
    let (before, now): (Vec<_>, Vec<_>) = (record.images.keys().collect(), project.services.keys().collect());
    if before == now {
        return Ok(());
    }
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(fetch::conflict(format!("it had the services {}, and now has {}", list(before), list(now)), target))
}
