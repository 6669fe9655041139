//! Sending an image to its registry.

use bluegreen_core::{Error, ErrorKind, Progress, Result};
use bollard::auth::DockerCredentials;
use bollard::query_parameters::PushImageOptionsBuilder;

use super::{Reference, credentials_for, registry_error};
use crate::engine::{Answer, Engine, MOVING};

/// Sends an image, and returns the digest that it has in the registry.
pub(crate) async fn push(engine: &Engine, reference: &Reference, progress: &Progress) -> Result<String> {
    let connected = engine.connected().await?;
    let credentials = credentials_for(engine.host(), &connected.settings.config, reference.registry()).await?;
    // The engine wants the header, also when there is nothing in it.
    let credentials = Some(credentials.unwrap_or_else(DockerCredentials::default));
    let options = PushImageOptionsBuilder::default().tag(reference.tag.as_deref().unwrap_or("latest")).build();
    let mut lines = Answer::new(connected.docker.push_image(&reference.name, Some(options), credentials), MOVING);
    let failed = |error: Error| registry_error(error.with_operation("push an image"), reference).maybe_applied();
    let mut digest = None;
    while let Some(line) = lines.next().await.map_err(failed)? {
        if let Some(detail) = line.error_detail {
            let message = detail.message.unwrap_or_else(|| "the engine gave no reason".to_owned());
            return Err(failed(Error::new(ErrorKind::Unexpected, message)));
        }
        let status = line.status.unwrap_or_default();
        lines.heard(&status);
        // "1.0: digest: sha256:... size: 528"
        if let Some((_, found)) = status.split_once("digest: ") {
            digest = found.split_whitespace().next().map(str::to_owned);
        }
        if let (Some(detail), "Pushing") = (line.progress_detail, status.as_str()) {
            let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            progress.bytes(&format!("push {reference}"), bytes(detail.current).unwrap_or(0), bytes(detail.total));
        }
    }
    digest.ok_or_else(|| {
        failed(Error::new(ErrorKind::Unexpected, "the registry did not confirm the image with a digest"))
    })
}
