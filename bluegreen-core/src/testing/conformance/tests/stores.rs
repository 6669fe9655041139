use std::path::PathBuf;

use async_trait::async_trait;

use crate::file_store::FileStateStore;
use crate::host::LocalHost;
use crate::host_store::HostStateStore;
use crate::store::StateStore;
use crate::testing::conformance::{self, StateStoreFixture};
use crate::types::ServiceName;

/// A store on a directory of this machine.
struct Files<S> {
    directory: tempfile::TempDir,
    open: fn(PathBuf) -> S,
}

impl<S: StateStore> Files<S> {
    fn new(open: fn(PathBuf) -> S) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), open }
    }

    fn path(&self, service: &ServiceName, suffix: &str) -> PathBuf {
        self.state().join(format!("{service}{suffix}"))
    }

    /// It does not exist before the first commit.
    fn state(&self) -> PathBuf {
        self.directory.path().join("it's the $(state)").join("deep")
    }
}

#[async_trait]
impl<S: StateStore> StateStoreFixture for Files<S> {
    type Store = S;

    async fn open(&self) -> S {
        (self.open)(self.state())
    }

    async fn overwrite(&self, service: &ServiceName, bytes: &[u8]) -> bool {
        std::fs::write(self.path(service, ".json"), bytes).unwrap();
        true
    }

    fn backup(&self, service: &ServiceName) -> Option<String> {
        Some(self.path(service, ".json.bak").to_str().unwrap().to_owned())
    }

    async fn read_backup(&self, service: &ServiceName) -> Option<Vec<u8>> {
        std::fs::read(self.path(service, ".json.bak")).ok()
    }
}

fn on_host(directory: PathBuf) -> HostStateStore {
    HostStateStore::new(LocalHost::new(), directory.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_store_keeps_its_contract() {
    conformance::state_store(&Files::new(FileStateStore::new)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_store_keeps_its_contract() {
    conformance::state_store(&Files::new(on_host)).await;
}
