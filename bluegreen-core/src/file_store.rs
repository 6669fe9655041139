//! [`FileStateStore`]: state documents as files of this machine.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::durable;
use crate::error::{Error, ErrorKind, Result};
use crate::state::State;
use crate::state_file::{StateFile, revision};
use crate::store::{Revision, StateStore, Versioned};
use crate::types::ServiceName;

/// How long a commit waits for the lock. One takes milliseconds: after this long its holder is not working any more.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How often it tries meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Keeps the state of each service in a directory of this machine: `<service>.json`, its previous content in
/// `<service>.json.bak`.
///
/// - A commit replaces the file whole: it is written under another name, synced to the disk, and renamed; then the
///   directory is synced. A crash at any moment leaves the old document or the new one.
/// - Commits exclude each other by a lock on the directory (`flock`), which dies with its process. On a network file
///   system, which locks files only, they do by a lock on `<service>.lock`; this is as good as that file system's locks.
/// - The files can be read and written by their owner only (mode 0600). The directory is made at the first commit if
///   it is missing (mode 0700).
/// - A [`HostStateStore`](crate::HostStateStore) on the same directory may be used at the same time.
///
/// ```
/// use bluegreen_core::{FileStateStore, ServiceName, StateStore, state::State};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path();
/// let store = FileStateStore::new(directory);
/// let shop = ServiceName::new("shop")?;
/// assert!(store.load(&shop).await?.is_none());
///
/// let revision = store.commit(&shop, None, &State::new(shop.clone())).await?;
/// assert_eq!(store.load(&shop).await?.map(|stored| stored.revision), Some(revision));
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct FileStateStore {
    directory: PathBuf,
    lock_wait: Duration,
}

impl FileStateStore {
    /// A store in this directory. Nothing is touched until the first call.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), lock_wait: LOCK_WAIT }
    }

    fn file(&self, service: &ServiceName) -> Result<StateFile> {
        let directory = self.directory.to_str().ok_or_else(|| {
            Error::config("the path of the state directory is not text").with("directory", self.directory.display())
        })?;
        Ok(StateFile::new(directory, service))
    }
}

impl fmt::Display for FileStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state files in {}", self.directory.display())
    }
}

#[async_trait]
impl StateStore for FileStateStore {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        let file = self.file(service)?;
        let work = file.clone();
        let trying = |error: Error| file.refused(error).with_operation(format!("load the state of {service}"));
        blocking(move || load(&work)).await.map_err(trying)
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let (file, expected) = (self.file(service)?, expected.cloned());
        let (directory, lock_wait) = (self.directory.clone(), self.lock_wait);
        let trying = |error: Error| file.refused(error).with_operation(format!("store the state of {service}"));
        let bytes = file.bytes(state).map_err(trying)?;
        let work = file.clone();
        blocking(move || {
            create(&directory)?;
            let _lock = lock(&work, &directory, lock_wait)?;
            commit(&work, expected.as_ref(), &bytes)
        })
        .await
        .map_err(trying)
    }
}

fn load(file: &StateFile) -> Result<Option<Versioned<State>>> {
    match read(&file.document)? {
        Some(bytes) => match file.parse(&bytes) {
            Ok(stored) => Ok(Some(stored)),
            Err(error) => Err(file.unreadable(error, read(&file.backup).unwrap_or(None).as_deref())),
        },
        None if read(&file.backup)?.is_some() => Err(file.lost()),
        None => Ok(None),
    }
}

/// Under the lock.
fn commit(file: &StateFile, expected: Option<&Revision>, bytes: &[u8]) -> Result<Revision> {
    let present = read(&file.document)?;
    if present.is_none() && read(&file.backup)?.is_some() {
        return Err(file.lost());
    }
    if present.as_deref().map(revision).as_ref() != expected {
        return Err(file.conflict(expected));
    }
    if let Some(previous) = present {
        // The document itself is not touched yet, whatever happened to the backup.
        durable::replace_by(Path::new(&file.new), Path::new(&file.backup), &previous, MODE)
            .map_err(Error::not_applied)?;
    }
    durable::replace_by(Path::new(&file.new), Path::new(&file.document), bytes, MODE)?;
    Ok(revision(bytes))
}

const MODE: u32 = 0o600;

fn read(path: &str) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from(error).not_applied().with("file", path)),
    }
}

/// Makes the directory, and makes it last.
fn create(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.and_then(|()| File::open(durable::parent(directory))?.sync_all())
        .map_err(|error| Error::from(error).not_applied().with("directory", directory.display()))
}

/// Waits for the lock; it is given up when the file is dropped, or its process dies.
///
/// The directory itself is locked: nobody can remove that under load. Network file systems lock files only.
fn lock(file: &StateFile, directory: &Path, wait: Duration) -> Result<File> {
    let deadline = Instant::now() + wait;
    let whole = File::open(directory).map_err(|error| Error::from(error).not_applied())?;
    match acquire(&whole, deadline) {
        Ok(true) => return Ok(whole),
        Ok(false) => return Err(file.locked(wait.as_secs())),
        Err(_) => {}
    }
    let failed = |error: std::io::Error| match has_no_locks(&error) {
        true => file.no_locks(&error.to_string()),
        false => Error::from(error).not_applied().with("lock", &file.lock),
    };
    loop {
        let handle = OpenOptions::new().create(true).append(true).mode(MODE).open(&file.lock).map_err(failed)?;
        match acquire(&handle, deadline).map_err(failed)? {
            false => return Err(file.locked(wait.as_secs())),
            // A lock on a file that was removed since it was opened excludes nobody.
            true if is_in_place(&handle, &file.lock) => return Ok(handle),
            true => {}
        }
    }
}

/// Whether the lock could be taken before the deadline.
fn acquire(handle: &File, deadline: Instant) -> std::io::Result<bool> {
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn is_in_place(handle: &File, path: &str) -> bool {
    let names = |of: std::io::Result<std::fs::Metadata>| of.ok().map(|file| (file.dev(), file.ino()));
    let ours = names(handle.metadata());
    ours.is_some() && ours == names(std::fs::metadata(path))
}

fn has_no_locks(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP].contains(&errno))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Unexpected, "a file operation was cut off").with_source(error)),
    }
}

#[cfg(test)]
mod tests;
