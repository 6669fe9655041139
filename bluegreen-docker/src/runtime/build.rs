//! Building what the compose file says how to build, for one release.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Error, Result, ServiceName, Target, Version, sha256_hex};
use serde_json::json;

use super::ComposeRuntime;
use crate::compose::{Patch, Said, Service};
use crate::image::PullPolicy;
use crate::labels;
use crate::slot::fetch::Build;

/// How long all of it may take: compilers and package managers often do.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Whether a service's image is built for each release. Compose builds what is not here; an image without a name, or one whose
/// name is the same for every release, would be the last release's then.
pub(super) fn is_per_release(service: &Service, version: &Version) -> bool {
    let is_of_release = service.image.as_deref().is_some_and(|image| image.contains(version.as_str()));
    match (&service.build, service.pull_policy()) {
        (None, _) => false,
        (Some(_), Some(PullPolicy::Build)) => true,
        (Some(_), policy) => service.image.is_none() || !(is_of_release || policy.is_some()),
    }
}

/// How the image of a service comes to be, where the compose file says how to build it.
pub(super) fn of(service: &Service, version: &Version) -> Build {
    match (&service.build, is_per_release(service, version)) {
        (None, _) => Build::No,
        (Some(_), true) => Build::Always,
        (Some(_), false) => Build::IfMissing,
    }
}

/// The name of an image that is built for one release. A version may hold what a tag may not: then a part of its digest tells
/// it from others that are alike.
pub(super) fn name(service: &ServiceName, of: &str, version: &Version) -> String {
    let tame = |text: &str, more: &str| -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        text.chars().map(|c| if good(c) { c } else { '_' }).collect()
    };
    let (service, of) = (tame(service.as_str(), "-").to_ascii_lowercase(), tame(of, "-").to_ascii_lowercase());
    let mut tag = tame(version.as_str(), "-.");
    if tag != version.as_str() || tag.len() > 100 || tag.starts_with(['.', '-']) {
        tag.truncate(100);
        tag = format!("v{tag}-{}", &sha256_hex(version.as_str())[..8]);
    }
    format!("bluegreen/{service}-{of}:{tag}").replace("__", "_").replace("-_", "-")
}

/// Builds these services' images under these names.
pub(super) async fn run(runtime: &ComposeRuntime, target: &Target, names: &BTreeMap<String, String>) -> Result<()> {
    let inner = &*runtime.inner;
    let mut patch = Patch::default();
    for (service, image) in names {
        patch.set(["services", service, "image"], Said::Merged(json!(image)));
        let labels = json!({labels::BUILT: "true", labels::SERVICE: inner.slots.service.as_str(), labels::VERSION: target.version().as_str()});
        patch.set(["services", service, "build", "labels"], Said::Merged(labels));
    }
    let project = inner.project_name(target.slot);
    let file = format!("{}.build.yaml", target.slot);
    inner.state.write(&file, patch.to_yaml().as_bytes()).await.map_err(Error::not_applied)?;
    let path = inner.state.file(&file);
    let command = inner.compose.command_over(&inner.slots.engine, project, target, &path).await?;
    let command = command.arg("build").args(names.keys().cloned()).timeout(LIMIT).called("docker compose build");
    let output = inner.compose.run(&command).await?;
    output.ok(&command, &inner.compose.host).map(drop).map_err(|error: Error| {
        error.with_operation(format!("build {}", names.keys().cloned().collect::<Vec<_>>().join(", "))).not_applied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_an_image_name_of_its_own_that_the_engine_takes() {
        let service = ServiceName::new("Shop").unwrap();
        let named = |version: &str| name(&service, "Web_App.1", &version.parse().unwrap());
        assert_eq!(named("1.4.0"), "bluegreen/shop-web_app_1:1.4.0");
        let built = named("1.4.0+build.7");
        assert!(built.starts_with("bluegreen/shop-web_app_1:v1.4.0_build.7-"), "{built}");
        assert_ne!(built, named("1.4.0_build.7"));
        for version in ["1.4.0", "1.4.0+build.7"] {
            assert!(named(version).parse::<crate::image::Reference>().is_ok(), "{version}");
        }
    }
}
