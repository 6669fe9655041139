//! Builds of a service, as people have them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bluegreen_core::{LocalHost, OperationId, Release, ServiceName, Slot, Target};
use bluegreen_release::{ReleaseDirectory, ReleaseDirectoryBuilder};

/// A machine that builds, and a server; both are this one.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A directory with these files; a name that ends in `*` is a program.
    pub(crate) fn build(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.path(name);
        for (file, text) in files {
            let path = root.join(file.trim_end_matches('*'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if file.ends_with('*') { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    pub(crate) fn releases(&self) -> ReleaseDirectory {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> ReleaseDirectoryBuilder {
        let server = self.path("server").to_str().unwrap().to_owned();
        ReleaseDirectory::builder(LocalHost::new(), server)
    }

    pub(crate) fn on_server(&self, path: &str) -> PathBuf {
        self.path("server").join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.on_server(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The versions on the server.
    pub(crate) fn versions(&self) -> Vec<String> {
        names(&self.on_server("releases"))
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

pub(crate) fn target(version: &str, artifact: impl Into<PathBuf>) -> Target {
    let release = Release::new(version).unwrap().with_artifact(artifact);
    Target::new(ServiceName::new("shop").unwrap(), Slot::Blue, release, OperationId::new("op-1").unwrap())
}

/// A tarball of members as they are given, hostile ones too.
pub(crate) fn tarball(path: &Path, members: &[(&str, tar::EntryType, &str)]) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in members {
        let mut header = tar::Header::new_gnu();
        // Past the checks of the crate.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let is_file = kind.is_file();
        header.set_size(if is_file { text.len() as u64 } else { 0 });
        if !is_file {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if is_file { text.as_bytes() } else { b"" }).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
}
