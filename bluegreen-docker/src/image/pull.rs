//! Fetching an image, with what is through of each layer.

use bluegreen_core::{Error, ErrorKind, Progress, Result};
use bollard::query_parameters::CreateImageOptionsBuilder;

use super::{Reference, credentials_for, registry_error};
use crate::engine::{Answer, Engine, MOVING, if_found, quick};

/// An image on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// Names its content on this engine.
    pub(crate) id: String,
    /// Names its content in its registry; `None` for an image that was never in one.
    pub(crate) digest: Option<String>,
    /// Whether it came here for us: we fetched it, or built it.
    pub(crate) ours: bool,
}

/// Fetches an image. What is there already is not fetched again.
///
/// Of another platform than the engine's own where one is named.
pub(crate) async fn pull(
    engine: &Engine,
    reference: &Reference,
    platform: Option<&str>,
    progress: &Progress,
) -> Result<Pulled> {
    let connected = engine.connected().await?;
    let credentials = credentials_for(engine.host(), &connected.settings.config, reference.registry()).await?;
    let mut options = CreateImageOptionsBuilder::default().from_image(&reference.name).tag(reference.tag_or_digest());
    if let Some(platform) = platform {
        options = options.platform(platform);
    }
    let mut lines = Answer::new(connected.docker.create_image(Some(options.build()), None, credentials), MOVING);
    let failed = |error: Error| registry_error(error.with_operation("pull an image"), reference);
    let (mut digest, mut fetched) = (None, false);
    while let Some(line) = lines.next().await.map_err(failed)? {
        if let Some(detail) = line.error_detail {
            let message = detail.message.unwrap_or_else(|| "the engine gave no reason".to_owned());
            return Err(failed(Error::new(ErrorKind::Unexpected, message)));
        }
        let status = line.status.unwrap_or_default();
        lines.heard(&format!("{} {status}", line.id.as_deref().unwrap_or_default()));
        if let Some(found) = status.strip_prefix("Digest: ") {
            digest = Some(found.trim().to_owned());
        }
        fetched |= status.starts_with("Status: Downloaded newer image");
        if let (Some(layer), Some(detail), "Downloading") = (&line.id, line.progress_detail, status.as_str()) {
            let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            let what = format!("{reference} layer {layer}");
            progress.bytes(&what, bytes(detail.current).unwrap_or(0), bytes(detail.total));
        }
    }
    let name = digest.as_deref().map_or_else(|| reference.to_string(), |digest| reference.by_digest(digest));
    let found = inspect(engine, &name, reference).await?;
    let found = found.ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the engine pulled the image and does not have it").with("image", reference)
    })?;
    tracing::info!(image = %reference, digest, fetched, "image is here");
    Ok(Pulled { digest: digest.or(found.digest), ours: found.ours || fetched, ..found })
}

/// An image that the engine has.
pub(crate) async fn find_local(engine: &Engine, reference: &Reference) -> Result<Option<Pulled>> {
    inspect(engine, &reference.to_string(), reference).await
}

async fn inspect(engine: &Engine, name: &str, reference: &Reference) -> Result<Option<Pulled>> {
    let docker = engine.docker().await?;
    let found = if_found(quick("look for an image", docker.inspect_image(name)).await)
        .map_err(|error| error.not_applied().with("image", reference))?;
    Ok(found.map(|image| {
        let prefix = format!("{}@", reference.familiar_name());
        let digests = image.repo_digests.unwrap_or_default();
        let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
        Pulled {
            id: image.id.unwrap_or_default(),
            digest: reference
                .digest
                .clone()
                .or_else(|| digests.iter().find_map(|digest| digest.strip_prefix(&prefix)).map(str::to_owned)),
            ours: labels.contains_key(crate::labels::BUILT),
        }
    }))
}
