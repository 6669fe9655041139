//! Taking a slot's project down: without volumes, and nothing that is shared.

use std::collections::HashMap;
use std::time::Duration;

use bluegreen_core::{Result, Slot, Stopped};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::Inner;
use crate::compose::wait_for_others;
use crate::engine::{if_found, quick};
use crate::labels;
use crate::slot::take_down::TakeDown;

/// What a killed container lacks, most often.
const INIT: &str = "a program that ignores SIGTERM as the container's first process ends with `init: true`, or with `exec` in \
                    its start script; one that needs longer gets it by `stop_grace_period:`";

pub(super) async fn stop(inner: &Inner, slot: Slot, grace: Duration) -> Result<Stopped> {
    let mut down = TakeDown::new(&inner.slots, slot, grace);
    // Compose may be at it still, for a deployer that was killed. With its containers gone, it ends.
    let settle = async { wait_for_others(&inner.state.host, &inner.state.lock(slot)).await };
    let done = async {
        inner.state.verify().await?;
        down.run(settle).await?;
        remove_networks(inner, inner.project_name(slot)).await
    };
    let done = done.await;
    down.ended(done, INIT)
}

/// Removes the networks that were made for this project alone. One with a name of its own may be used by others.
async fn remove_networks(inner: &Inner, project: &str) -> Result<()> {
    let docker = inner.slots.engine.docker().await?;
    let filters = HashMap::from([("label", vec![format!("{}={project}", labels::COMPOSE_PROJECT)])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = quick("list the networks of a slot", docker.list_networks(Some(options))).await?;
    for network in networks {
        let (Some(id), Some(name)) = (network.id, network.name) else { continue };
        let owner = network.labels.as_ref().and_then(|labels| labels.get(labels::SERVICE));
        let is_others = owner.is_some_and(|owner| owner != inner.slots.service.as_str());
        if is_others || !name.starts_with(&format!("{project}_")) {
            continue;
        }
        match if_found(quick("remove a network", docker.remove_network(&id)).await) {
            Ok(_) => {}
            // Another container was connected to it by hand: it is that one's now.
            Err(error) if error.message().contains("active endpoints") => {
                tracing::warn!(network = name, "still in use, so it stays");
            }
            Err(error) => return Err(error.with("network", name)),
        }
    }
    Ok(())
}
