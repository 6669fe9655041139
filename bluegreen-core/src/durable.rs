//! Replacing files so that a crash leaves the old one or the new one, and the new one stays.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How old a temporary file is before it counts as left by a writer that was killed.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

/// Whether what is being prepared on another thread is still to be put in place.
///
/// Who asked for it may go away meanwhile, and ask for something else: what was asked for first must not land last.
#[derive(Debug, Clone)]
pub(crate) struct Wanted(Arc<Mutex<bool>>);

impl Default for Wanted {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(true)))
    }
}

impl Wanted {
    /// Puts something in place, unless it is not wanted any more.
    fn put<T>(&self, rename: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        // Held during the rename: what is withdrawn is in place already, or never will be.
        let wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *wanted { rename() } else { Err(std::io::ErrorKind::Interrupted.into()) }
    }

    /// From now on it is not wanted.
    pub(crate) fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// Replaces `path` with `contents`: temporary file, fsync, rename, fsync of the directory. The directory must exist.
///
/// Blocks; from async code, call it on a thread that may. Temporary files of writers that were killed are removed after an
/// hour.
///
/// # Errors
/// Those of the file system, with [`Effect::NotApplied`](crate::Effect::NotApplied) as long as the old content is in
/// place.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    replace_if(&Wanted::default(), path, contents, mode)
}

/// As [`replace`], as long as it is wanted.
pub(crate) fn replace_if(wanted: &Wanted, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(mode);
    let prefix = temporary_prefix(path);
    remove_leftovers(path, &prefix);
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(permissions.clone())
        .tempfile_in(parent(path))
        .map_err(|error| at(path, error).not_applied())?;
    // The mode given at creation is cut down by the umask; what was asked for is what counts.
    file.as_file().set_permissions(permissions).map_err(|error| at(path, error).not_applied())?;
    file.write_all(contents).map_err(|error| at(path, error).not_applied())?;
    persist_if(wanted, file, path)
}

/// As [`replace`], by way of a temporary file of a given name in the same directory, which only one writer may use at a time:
/// what a killed writer left there is replaced by the next one.
pub(crate) fn replace_by(temporary: &Path, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let failed = |error| at(path, error).not_applied();
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(temporary).map_err(failed)?;
    let written = file
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(contents))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(temporary, path));
    if let Err(error) = written {
        // A disk that is full must not stay full because of what could not be written.
        let _ = std::fs::remove_file(temporary);
        return Err(failed(error));
    }
    sync_directory(path)
}

/// Moves a finished temporary file to its name, durably, as long as it is wanted.
pub(crate) fn persist_if(wanted: &Wanted, file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(|error| at(path, error).not_applied())?;
    wanted.put(|| file.persist(path).map_err(|error| error.error)).map_err(|error| at(path, error).not_applied())?;
    sync_directory(path)
}

/// Points `link` to `target`, as long as it is wanted: temporary link, rename, fsync of the directory.
pub(crate) fn symlink_if(wanted: &Wanted, target: &Path, link: &Path) -> Result<()> {
    let directory = tempfile::Builder::new()
        .prefix(".link-")
        .tempdir_in(parent(link))
        .map_err(|error| at(link, error).not_applied())?;
    let temporary: PathBuf = directory.path().join("link");
    std::os::unix::fs::symlink(target, &temporary).map_err(|error| at(link, error).not_applied())?;
    wanted.put(|| std::fs::rename(&temporary, link)).map_err(|error| at(link, error).not_applied())?;
    sync_directory(link)
}

fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".tmp-");
    prefix
}

/// Removes what writers of this file left that were killed. No write takes an hour.
fn remove_leftovers(path: &Path, prefix: &OsStr) {
    for entry in std::fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        let is_leftover = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes())
            && entry
                .metadata()
                .and_then(|file| file.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LEFTOVER_AGE));
        if is_leftover {
            // Another writer may have removed it already, and it harms nobody.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The directory of a path; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(parent(path)).and_then(|directory| directory.sync_all()).map_err(|error| at(path, error))
}

fn at(path: &Path, error: std::io::Error) -> Error {
    Error::from(error).with_operation("replace a file").with("path", path.display())
}
