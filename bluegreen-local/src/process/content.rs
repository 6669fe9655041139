//! The content of each version, by its checksum: a version name is never reused for other content.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bluegreen_core::{Error, ErrorKind, Reason, Result, Version, durable, hex};
use sha2::{Digest, Sha256};

/// Records the content of a version in `directory`, and where it is, or checks that it is what was recorded. Returns the
/// checksum, or `None` for a release that carries no artifact.
pub(super) fn claim(directory: &Path, version: &Version, artifact: Option<&Path>) -> Result<Option<String>> {
    let Some(artifact) = artifact else { return Ok(None) };
    let found = check(directory, version, artifact)?;
    let record = record_of(directory, version);
    let whole = std::path::absolute(artifact).map_err(|error| at(artifact, error))?;
    let line = format!("{found} {}\n", whole.display());
    if std::fs::read_to_string(&record).ok().as_ref() != Some(&line) {
        durable::replace(&record, line.as_bytes(), 0o600)?;
    }
    Ok(Some(found))
}

/// Checks that the content of a version is what was recorded, if anything was, and returns its checksum.
pub(super) fn check(directory: &Path, version: &Version, artifact: &Path) -> Result<String> {
    let found = checksum(artifact)?;
    let record = record_of(directory, version);
    match std::fs::read_to_string(&record) {
        Ok(recorded) if recorded.split_whitespace().next() != Some(&found) => {
            Err(Error::new(ErrorKind::Conflict, "this version was deployed before with other content")
                .with_reason(Reason::OtherContent)
                .not_applied()
                .with("version", version)
                .with("artifact", artifact.display())
                .with_hint("give changed content a new version, and let a service write outside of its artifact"))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(error).not_applied().with("path", record.display()))
        }
        _ => Ok(found),
    }
}

/// Where the artifact of a version was when it was recorded last, if it is still there.
pub(super) fn place(directory: &Path, version: &Version) -> Option<PathBuf> {
    let recorded = std::fs::read_to_string(record_of(directory, version)).ok()?;
    let (_, place) = recorded.strip_suffix('\n')?.split_once(' ')?;
    Some(PathBuf::from(place)).filter(|place| place.exists())
}

fn record_of(directory: &Path, version: &Version) -> PathBuf {
    directory.join(format!("{version}.sha256"))
}

/// The SHA-256 of a file, or of all that is in a directory: names, kinds, execute bits and contents.
fn checksum(artifact: &Path) -> Result<String> {
    let metadata = std::fs::metadata(artifact).map_err(|error| at(artifact, error))?;
    let mut hash = Sha256::new();
    if metadata.is_dir() {
        hash_directory(&mut hash, artifact)?;
    } else if metadata.is_file() {
        hash_file(&mut hash, artifact)?;
    } else {
        return Err(Error::config("an artifact is a file or a directory").with("path", artifact.display()));
    }
    Ok(hex(hash.finalize()))
}

fn hash_directory(hash: &mut Sha256, directory: &Path) -> Result<()> {
    let list = || std::fs::read_dir(directory)?.collect::<std::io::Result<Vec<_>>>();
    let mut entries = list().map_err(|error| at(directory, error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let metadata = std::fs::symlink_metadata(&path).map_err(|error| at(&path, error))?;
        field(hash, entry.file_name().as_encoded_bytes());
        if metadata.is_dir() {
            field(hash, b"directory");
            hash_directory(hash, &path)?;
            field(hash, b"end");
        } else if metadata.is_symlink() {
            field(hash, b"link");
            let target = std::fs::read_link(&path).map_err(|error| at(&path, error))?;
            field(hash, target.as_os_str().as_encoded_bytes());
        } else if metadata.is_file() {
            field(hash, if metadata.permissions().mode() & 0o111 != 0 { b"program" } else { b"file" });
            hash.update(metadata.len().to_le_bytes());
            hash_file(hash, &path)?;
        } else {
            return Err(
                Error::config("an artifact holds files, directories and links only").with("path", path.display())
            );
        }
    }
    Ok(())
}

/// Adds a text with its length, so that no two lists of fields look alike.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn hash_file(hash: &mut Sha256, path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(|error| at(path, error))?;
    let mut chunk = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut chunk).map_err(|error| at(path, error))?;
        if count == 0 {
            return Ok(());
        }
        hash.update(&chunk[..count]);
    }
}

fn at(path: &Path, error: std::io::Error) -> Error {
    Error::from(error).not_applied().with_operation("read the artifact").with("path", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_keeps_the_content_it_had_first() {
        let directory = tempfile::tempdir().unwrap();
        let artifact = directory.path().join("app");
        let version = Version::new("1").unwrap();
        std::fs::write(&artifact, "one").unwrap();
        let first = claim(directory.path(), &version, Some(&artifact)).unwrap();
        assert_eq!(claim(directory.path(), &version, Some(&artifact)).unwrap(), first);
        std::fs::write(&artifact, "two").unwrap();
        let error = claim(directory.path(), &version, Some(&artifact)).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, bluegreen_core::Effect::NotApplied));
        std::fs::write(&artifact, "one").unwrap();
        assert_eq!(claim(directory.path(), &version, Some(&artifact)).unwrap(), first);
        assert_eq!(claim(directory.path(), &version, None).unwrap(), None);
    }

    #[test]
    fn a_version_is_found_again_where_it_was_last() {
        let directory = tempfile::tempdir().unwrap();
        let version = Version::new("1").unwrap();
        assert_eq!(place(directory.path(), &version), None);
        let [first, second] = ["an app", "moved"].map(|name| directory.path().join(name));
        for artifact in [&first, &second] {
            std::fs::write(artifact, "one").unwrap();
            claim(directory.path(), &version, Some(artifact)).unwrap();
            assert_eq!(place(directory.path(), &version).as_ref(), Some(artifact));
        }
        std::fs::remove_file(&second).unwrap();
        assert_eq!(place(directory.path(), &version), None);
    }

    #[test]
    fn every_change_inside_a_directory_is_other_content() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/app"), "code").unwrap();
        let changes: [&dyn Fn(); 4] = [
            &|| std::fs::write(root.join("bin/app"), "other").unwrap(),
            &|| std::fs::set_permissions(root.join("bin/app"), PermissionsExt::from_mode(0o755)).unwrap(),
            &|| std::fs::rename(root.join("bin/app"), root.join("app")).unwrap(),
            &|| std::os::unix::fs::symlink("bin", root.join("link")).unwrap(),
        ];
        let mut seen = vec![checksum(root).unwrap()];
        for change in changes {
            change();
            let now = checksum(root).unwrap();
            assert!(!seen.contains(&now));
            seen.push(now);
        }
    }

    #[test]
    fn a_missing_artifact_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let version = Version::new("1").unwrap();
        let error = claim(directory.path(), &version, Some(Path::new("/no/such/artifact"))).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, bluegreen_core::Effect::NotApplied));
    }
}
