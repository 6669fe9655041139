//! [`HostStateStore`]: state documents as files of any [`Host`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::host::{Command, Host, Output};
use crate::state::State;
use crate::state_file::{StateFile, revision};
use crate::store::{Revision, StateStore, Versioned};
use crate::types::ServiceName;

/// Prints the document; see [`Status`] for what else it may say.
const LOAD: &str = include_str!("host_store/load.sh");

/// Compares and swaps the document; see [`Status`] for what it says.
const COMMIT: &str = include_str!("host_store/commit.sh");

/// How long a script may take: far longer than a commit that has to wait for the lock.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long `commit.sh` waits for the lock: 100 times a tenth of a second.
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

    /// Whether to read and write as root, by `sudo -n`; off unless set.
    #[must_use]
    pub fn sudo(mut self, sudo: bool) -> Self {
        self.sudo = sudo;
        self
    }

    async fn run(&self, does: &str, script: &str, args: &[&str], input: Vec<u8>) -> Result<(Command, Output)> {
        let command = Command::script(script)
            .called(does)
            .args(args.iter().copied())
            .stdin(input)
            .sudo(self.sudo)
            .timeout(TIMEOUT)
            .output_limit(LARGEST_DOCUMENT);
        let output = self.host.run(&command).await?;
        Ok((command, output))
    }

    async fn read(&self, file: &StateFile) -> Result<Option<Versioned<State>>> {
        let (command, output) = self.run("read the state", LOAD, &[&file.document, &file.backup], Vec::new()).await?;
        match Status::of(&output) {
            Some(Status::Nothing) => Ok(None),
            Some(Status::Lost) => Err(file.lost()),
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
        let (_, output) = self.run("read the state", LOAD, &[&file.backup, &file.backup], Vec::new()).await.ok()?;
        output.success().then_some(output.stdout)
    }

    async fn swap(&self, file: &StateFile, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let bytes = file.bytes(state)?;
        let new = revision(&bytes);
        let args = [
            self.directory.as_str(),
            &file.document,
            &file.backup,
            &file.lock,
            expected.map_or("none", Revision::as_str),
            new.as_str(),
        ];
        let (command, output) = self.run("write the state", COMMIT, &args, bytes).await?;
        match Status::of(&output) {
            Some(Status::Conflict) => Err(file.conflict(expected)),
            Some(Status::Lost) => Err(file.lost()),
            Some(Status::Locked) => Err(file.locked(LOCK_WAIT_SECONDS)),
            Some(Status::MissingTool) => {
                let tool = output.text();
                Err(Error::new(ErrorKind::Unsupported, format!("there is no `{tool}` on the host"))
                    .with_hint("install it there: flock comes with util-linux, sha256sum with coreutils"))
            }
            Some(Status::NoLocks) => Err(file.no_locks(output.error_text().trim())),
            Some(Status::NotWhole) => Err(Error::new(
                ErrorKind::Unexpected,
                "the document did not arrive whole on the host's disk, and was not stored",
            )
            .not_applied()
            .retryable(true)
            .with_hint("was the connection cut, or is the disk full?")),
            Some(Status::Nothing) | None => {
                output.ok(&command, &self.host).map(|_| new).map_err(|error| file.refused(error))
            }
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

/// What the scripts say by their exit status, apart from 0 and from what fails in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// There never was a document.
    Nothing,
    /// There is a backup, and no document.
    Lost,
    /// The document is not the expected one.
    Conflict,
    /// A tool is not installed; its name is printed.
    MissingTool,
    /// The lock was not given up in time.
    Locked,
    /// What arrived is not what was sent.
    NotWhole,
    /// The lock cannot be taken at all.
    NoLocks,
}

impl Status {
    fn of(output: &Output) -> Option<Self> {
        match output.status? {
            40 => Some(Self::Nothing),
            41 => Some(Self::Lost),
            42 => Some(Self::Conflict),
            43 => Some(Self::MissingTool),
            44 => Some(Self::Locked),
            45 => Some(Self::NotWhole),
            46 => Some(Self::NoLocks),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
