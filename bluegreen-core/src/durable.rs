//! Replacing files so that a crash leaves the old one or the new one, and the new one stays.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Replaces `path` with `contents`: temporary file, fsync, rename, fsync of the directory. The directory must exist.
///
/// Blocks; from async code, call it on a thread that may.
///
/// # Errors
/// Those of the file system, with [`Effect::NotApplied`](crate::Effect::NotApplied) as long as the old content is in
/// place.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(mode);
    let mut file = tempfile::Builder::new()
        .permissions(permissions.clone())
        .tempfile_in(parent(path))
        .map_err(|error| at(path, error).not_applied())?;
    // The mode given at creation is cut down by the umask; what was asked for is what counts.
    file.as_file().set_permissions(permissions).map_err(|error| at(path, error).not_applied())?;
    file.write_all(contents).map_err(|error| at(path, error).not_applied())?;
    persist(file, path)
}

/// Moves a finished temporary file to its name, durably.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(|error| at(path, error).not_applied())?;
    file.persist(path).map_err(|error| at(path, error.error).not_applied())?;
    sync_directory(path)
}

/// Points `link` to `target`: temporary link, rename, fsync of the directory.
pub(crate) fn symlink(target: &Path, link: &Path) -> Result<()> {
    let directory = tempfile::Builder::new()
        .prefix(".link-")
        .tempdir_in(parent(link))
        .map_err(|error| at(link, error).not_applied())?;
    let temporary: PathBuf = directory.path().join("link");
    std::os::unix::fs::symlink(target, &temporary).map_err(|error| at(link, error).not_applied())?;
    std::fs::rename(&temporary, link).map_err(|error| at(link, error).not_applied())?;
    sync_directory(link)
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
    Error::from(error).trying("replace a file").with("path", path.display())
}
