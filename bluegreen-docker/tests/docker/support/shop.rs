//! A service with a compose file, two slots and a registry.

use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{OperationId, Release, ServiceName, Slot, Target};
use bluegreen_docker::{ComposeRuntime, ComposeRuntimeBuilder};
use tempfile::TempDir;

use super::{Images, Registry, docker, docker_ok, unique};

/// A script that runs until it is asked to end.
pub(crate) const WAITS: &str =
    "trap 'exit 0' TERM; echo release begins; echo and waits; while :; do sleep 1 & wait $!; done";

/// How long a start may take: a machine that is busy otherwise needs minutes.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(300);

/// A service of its own. Dropping it removes all that it left on the engine.
pub(crate) struct Shop {
    pub(crate) name: String,
    folder: TempDir,
    // Removed after the containers, which are removed by hand.
    pub(crate) images: Images,
    pub(crate) registry: Registry,
}

impl Shop {
    /// With this compose file, in which `IMAGES` stands for where its images are.
    pub(crate) fn new(compose: &str) -> Self {
        let (name, registry) = (unique("shop"), Registry::start());
        let images = Images::new(&format!("{}/{name}", registry.address()));
        let shop = Self { name, folder: tempfile::tempdir().unwrap(), images, registry };
        shop.write("compose.yaml", compose);
        shop
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text.replace("IMAGES", self.images.prefix())).unwrap();
    }

    /// Makes an image of this script and sends it to the registry. It does not stay on the engine.
    pub(crate) fn publish(&self, image: &str, script: &str) {
        self.publish_large(image, script, 0);
    }

    /// The same with a file `/large` of so many bytes.
    pub(crate) fn publish_large(&self, image: &str, script: &str, large: u64) {
        let name = self.images.make_large(image, script, large);
        docker_ok(&["push", "-q", &name]);
        docker_ok(&["rmi", &name]);
    }

    pub(crate) fn builder(&self) -> ComposeRuntimeBuilder {
        let builder = ComposeRuntime::builder(&self.name, self.path("compose.yaml").to_str().unwrap());
        // Migrations keep their data there.
        builder
            .data_shared(["./data"])
            .restarts_allowed(2)
            .stabilization_time(Duration::from_millis(300))
            .start_deadline(START_DEADLINE)
    }

    pub(crate) fn runtime(&self) -> ComposeRuntime {
        self.builder().build().unwrap()
    }

    pub(crate) fn target(&self, slot: Slot, release: Release) -> Target {
        Target::new(ServiceName::new(&self.name).unwrap(), slot, release, OperationId::new("op-1").unwrap())
    }

    pub(crate) fn version(&self, slot: Slot, version: &str) -> Target {
        self.target(slot, Release::new(version).unwrap())
    }

    pub(crate) fn project(&self, slot: Slot) -> String {
        format!("{}-{slot}", self.name)
    }

    /// The containers of a slot that run, as the `docker` command lists them with these arguments.
    pub(crate) fn ps(&self, slot: Slot, arguments: &[&str]) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.project(slot));
        let mut words = vec!["ps", "--no-trunc", "--filter", &label];
        words.extend(arguments);
        docker_ok(&words).lines().map(str::to_owned).collect()
    }

    /// The ids of what runs in a slot.
    pub(crate) fn running(&self, slot: Slot) -> Vec<String> {
        self.ps(slot, &["-q"])
    }

    /// The id of the one container of a service in a slot, running or not.
    pub(crate) fn container(&self, slot: Slot, service: &str) -> String {
        let label = format!("label=com.docker.compose.service={service}");
        let found = self.ps(slot, &["-a", "-q", "--filter", &label]);
        assert_eq!(found.len(), 1, "{service} in {slot}: {found:?}");
        found[0].clone()
    }

    /// The networks or volumes of a slot.
    pub(crate) fn list(&self, kind: &str, slot: Slot) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.project(slot));
        docker_ok(&[kind, "ls", "-q", "--filter", &label]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for slot in Slot::BOTH {
            for id in &self.ps(slot, &["-a", "-q"]) {
                if std::thread::panicking() {
                    let output = docker(&["logs", "--tail", "20", id]);
                    eprintln!("--- {slot} {id}: {}", String::from_utf8_lossy(&output.stdout));
                }
                docker(&["rm", "-f", "-v", id]);
            }
        }
        // Only now: a network may be shared by both.
        for slot in Slot::BOTH {
            for kind in ["network", "volume"] {
                for id in self.list(kind, slot) {
                    docker(&[kind, "rm", &id]);
                }
            }
        }
    }
}

pub(crate) fn grace() -> Duration {
    Duration::from_secs(10)
}
