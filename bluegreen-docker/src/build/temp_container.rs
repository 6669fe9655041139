//! A container that is never started, and is removed when nobody needs it any more.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bluegreen_core::{Error, ErrorKind, ProcessId, Result};
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::engine::quick;
use crate::labels;

/// After so long, one that is still there was left by a process that died, wherever that was.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// A container of an image, for as long as this lives.
pub(super) struct TempContainer {
    pub(super) id: String,
    release: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl TempContainer {
    /// Makes the container in a task of its own. Whoever waits for it may be cut off at any moment: the task sees that,
    /// and removes what the engine was just about to make.
    pub(super) async fn new(docker: &Docker, image: &str) -> Result<Self> {
        let (docker, image) = (docker.clone(), image.to_owned());
        let (made, id) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let created = create(&docker, &image).await;
            let container = created.as_ref().ok().cloned();
            let is_wanted = made.send(created).is_ok();
            let Some(container) = container else { return Ok(()) };
            if is_wanted {
                // An error says that the other end is gone, which is the same.
                let _ = released.await;
            }
            remove(&docker, &container).await
        });
        let gone = || Error::new(ErrorKind::Cancelled, "the program is ending").not_applied();
        let id = id.await.map_err(|_| gone())??;
        Ok(Self { id, release, task })
    }

    /// Removes the container, and returns when it is gone.
    pub(super) async fn end(self) -> Result<()> {
        let _ = self.release.send(());
        match self.task.await {
            Ok(removed) => removed,
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "the removal was cut off").with_source(error)),
        }
    }
}

async fn create(docker: &Docker, image: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut labels = HashMap::from([(labels::EXTRACTION.to_owned(), now.to_string())]);
    labels.extend(ProcessId::current().map(|owner| (labels::OWNER.to_owned(), owner.to_string())));
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // It is never run, but the engine wants one, and an image need not have any.
        cmd: Some(vec!["-".to_owned()]),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    let created = docker.create_container(None::<CreateContainerOptions>, body);
    match quick("make a container of the image", created).await {
        Ok(created) => Ok(created.id),
        // The engine may have made it all the same.
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unreachable) => Err(error),
        Err(error) => Err(error.not_applied()),
    }
}

async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match quick("remove a container", docker.remove_container(id, Some(options))).await {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
            tracing::warn!(container = id, error = %error.chain(), "a container stays behind");
            Err(error.with_operation("remove the container of the copy").with("container", id))
        }
        _ => Ok(()),
    }
}

/// Removes what processes left that died while they copied.
pub(super) async fn remove_abandoned(docker: &Docker) -> Result<()> {
    let filters = HashMap::from([("label", vec![labels::EXTRACTION])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for container in quick("look for abandoned copies", docker.list_containers(Some(options))).await? {
        let labels = container.labels.unwrap_or_default();
        let made = labels.get(labels::EXTRACTION).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let is_orphan = labels.get(labels::OWNER).is_some_and(|owner| ProcessId::from(owner.as_str()).is_gone());
        let is_abandoned = is_orphan || made.is_some_and(|made| now.saturating_sub(made) > ABANDONED);
        if let (true, Some(id)) = (is_abandoned, container.id) {
            remove(docker, &id).await?;
        }
    }
    Ok(())
}
