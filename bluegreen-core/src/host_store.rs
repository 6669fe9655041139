//! [`HostStateStore`]: state documents as files of any [`Host`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::host::{Command, Host, Output, Script};
use crate::state::State;
use crate::state_file::{StateFile, revision};
use crate::store::{Revision, StateStore, Versioned};
use crate::types::ServiceName;

/// Prints the document.
const LOAD: &str = include_str!("host_store/load.sh");

/// The exit status of [`LOAD`] when there never was a document.
const NOTHING: i32 = 40;

/// The exit status of [`LOAD`] when there is a backup, and no document.
const LOST: i32 = 41;

/// Compares and swaps the document.
const COMMIT: Script = Script::new("write the state", include_str!("host_store/commit.sh"));

/// How long a script may take: far longer than a commit that has to wait for the lock.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a commit waits for the lock. Who holds it writes one small file, and a lease that is not renewed runs out.
const LOCK_WAIT_SECONDS: u64 = 10;

/// More than any document: 50 operations of history are some tens of kilobytes.
const LARGEST_DOCUMENT: usize = 64 << 20;

/// Keeps the state of each service in a directory of a [`Host`], so that everyone who deploys to that host sees it.
///
/// The files, the lock and the guarantees are those of [`FileStateStore`](crate::FileStateStore), which may be used on
/// the same directory on the host itself. Each call is one command on the host: `load` needs a POSIX shell there,
/// `commit` also `flock` (util-linux) and `sha256sum` (coreutils). A document that does not arrive whole is not stored.
///
/// ```
/// use bluegreen_core::{HostStateStore, LocalHost, ServiceName, StateStore, state::State};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().to_str().unwrap();
/// let store = HostStateStore::new(LocalHost::new(), directory);
/// let shop = ServiceName::new("shop")?;
/// let revision = store.commit(&shop, None, &State::new(shop.clone())).await?;
/// assert_eq!(store.load(&shop).await?.map(|stored| stored.revision), Some(revision));
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct HostStateStore {
    host: Arc<dyn Host>,
    directory: String,
    sudo: bool,
}

impl HostStateStore {
    /// A store in this directory of the host, which is made at the first commit if it is missing.
    pub fn new(host: impl Host, directory: impl Into<String>) -> Self {
        Self { host: Arc::new(host), directory: directory.into(), sudo: false }
    }

    /// Whether to read and write as root, by `sudo -n`. Default: no.
    #[must_use]
    pub fn sudo(mut self, sudo: bool) -> Self {
        self.sudo = sudo;
        self
    }

    async fn load_file(&self, document: &str, backup: &str) -> Result<(Command, Output)> {
        let command = Command::script(LOAD)
            .called("read the state")
            .args([document, backup])
            .sudo(self.sudo)
            .timeout(TIMEOUT)
            .output_limit(LARGEST_DOCUMENT);
        let output = self.host.run(&command).await?;
        Ok((command, output))
    }

    async fn read(&self, file: &StateFile) -> Result<Option<Versioned<State>>> {
        let (command, output) = self.load_file(&file.document, &file.backup).await?;
        match output.status {
            Some(NOTHING) => Ok(None),
            Some(LOST) => Err(file.lost()),
            _ => {
                let bytes = output.ok(&command, &self.host).map_err(|error| file.refused(error).not_applied())?.stdout;
                match file.parse(&bytes) {
                    Ok(stored) => Ok(Some(stored)),
                    Err(error) => Err(file.unreadable(error, self.backup(file).await.as_deref())),
                }
            }
        }
    }

    /// The backup, to tell in an error whether it is of use.
    async fn backup(&self, file: &StateFile) -> Option<Vec<u8>> {
        let (_, output) = self.load_file(&file.backup, &file.backup).await.ok()?;
        output.success().then_some(output.stdout)
    }

    async fn swap(&self, file: &StateFile, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let bytes = file.bytes(state)?;
        let new = revision(&bytes);
        let script = COMMIT
            .variable("lock_wait", &LOCK_WAIT_SECONDS.to_string())
            .args([&*self.directory, &file.document, &file.backup, &file.lock])
            .args([expected.map_or("none", Revision::as_str), new.as_str()])
            .stdin(bytes)
            .sudo(self.sudo)
            .timeout(TIMEOUT);
        let reply = script.run(&self.host).await.map_err(|error| file.refused(error))?;
        match reply.word() {
            "stored" => Ok(new),
            "conflict" => Err(file.conflict(expected)),
            "lost" => Err(file.lost()),
            "locked" => Err(file.locked(LOCK_WAIT_SECONDS)),
            "no-locks" => Err(file.no_locks(reply.rest())),
            "missing" => Err(Error::new(ErrorKind::Unsupported, format!("there is no `{}` on the host", reply.rest()))
                .with_hint("install it there: flock comes with util-linux, sha256sum with coreutils")),
            "damaged" => Err(Error::new(
                ErrorKind::Unexpected,
                "the document did not arrive whole on the host's disk, and was not stored",
            )
            .not_applied()
            .retryable(true)
            .with_hint("was the connection cut, or is the disk full?")),
            _ => Err(reply.unexpected()),
        }
    }
}

impl fmt::Display for HostStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state files in {} on {}", self.directory, self.host)
    }
}

#[async_trait]
impl StateStore for HostStateStore {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        let file = StateFile::new(&self.directory, service);
        let trying =
            |error: Error| error.with_operation(format!("load the state of {service}")).with("host", &self.host);
        self.read(&file).await.map_err(trying)
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let file = StateFile::new(&self.directory, service);
        let trying =
            |error: Error| error.with_operation(format!("store the state of {service}")).with("host", &self.host);
        self.swap(&file, expected, state).await.map_err(trying)
    }
}

#[cfg(test)]
mod tests;
