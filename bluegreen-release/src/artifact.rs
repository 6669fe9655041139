//! [`Artifact`]: a release's content, as it is on this machine.

use std::io::{self, Read, Write as _};
use std::path::Path;

use bluegreen_core::{Command, Error, ErrorKind, Host as _, LocalHost, Release, Result, hex};
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::manifest::{Entry, Manifest};
use crate::source::{Content, Source};

/// The largest release that is read unless more is allowed: 8 GiB unpacked.
pub const DEFAULT_MAX_SIZE: u64 = 8 << 30;

/// More members than any release has, and few enough to be kept in memory.
const MAX_MEMBERS: usize = 500_000;

/// The content of a release on this machine: a tarball (`.tar.gz`, `.tar.zst` or plain, told by what is in it), a
/// directory, or a single file such as a static binary.
///
/// It was read to its end: it is whole, and no member of it would land or point outside of the release.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use bluegreen_release::Artifact;
///
/// let directory = tempfile::tempdir()?;
/// std::fs::write(directory.path().join("server.py"), "print('hello')")?;
/// let artifact = Artifact::open(directory.path()).await?;
/// assert_eq!((artifact.files(), artifact.size()), (1, 14));
/// let release = artifact.release("1.4.0")?;
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Artifact {
    source: Source,
    manifest: Manifest,
}

impl Artifact {
    /// Reads the artifact at this path.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Corrupt` when it is cut off; `Config` when a member could land or point outside of
    /// the release, is neither file, directory nor link, or all of it is larger than [`DEFAULT_MAX_SIZE`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), 0, "program", DEFAULT_MAX_SIZE).await
    }

    /// Runs a command on this machine, and reads the artifact that it leaves at `path`.
    ///
    /// The command is ended after 15 minutes unless [`Command::timeout`] says otherwise.
    ///
    /// # Errors
    /// Those of running it; `Unexpected` with the exit status and the last lines it wrote when it fails; and those of
    /// [`open`](Self::open).
    pub async fn built_by(command: &Command, path: impl AsRef<Path>) -> Result<Self> {
        let about = |error: Error| error.not_applied().with_operation("build the release");
        let host = LocalHost::new();
        host.run(command).await.and_then(|output| output.ok(command, &host)).map_err(about)?;
        Self::open(&path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let path = path.as_ref().display();
                about(Error::new(ErrorKind::NotFound, format!("{command} succeeded, and there is no {path}")))
            }
            _ => about(error),
        })
    }

    /// Where it is, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// How many files it holds.
    pub fn files(&self) -> usize {
        self.manifest.files()
    }

    /// How many bytes its files hold, unpacked.
    pub fn size(&self) -> u64 {
        self.manifest.size()
    }

    /// A release of this version with this content.
    ///
    /// # Errors
    /// `Config` when the version is not a valid one.
    pub fn release(&self, version: impl Into<String>) -> Result<Release> {
        Ok(Release::new(version)?.with_artifact(&self.source.path))
    }

    pub(crate) async fn read(path: &Path, strip_components: usize, program: &str, max_size: u64) -> Result<Self> {
        let about = |error: Error| {
            error.not_applied().with_operation("read the release's artifact").with("artifact", path.display())
        };
        // A deploy tool may change its directory before it deploys.
        let absolute = std::path::absolute(path).map_err(|error| about(error.into()))?;
        let source = Source { path: absolute, strip_components, file_path: format!("bin/{program}") };
        blocking(move || {
            let manifest = read(&source, max_size)?;
            Ok(Self { source, manifest })
        })
        .await
        .map_err(about)
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Packs the members that `base` does not have as they are here, and all directories, as a `.tar.gz`.
    ///
    /// # Errors
    /// `Conflict` when the artifact changed since it was read.
    pub(crate) async fn pack(&self, base: Manifest) -> Result<tempfile::NamedTempFile> {
        let this = self.clone();
        blocking(move || pack(&this, &base)).await.map_err(|error| {
            error.not_applied().with_operation("pack the release").with("artifact", self.source.path.display())
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Unexpected, "the work was cut off").with_source(error)))
}

fn read(source: &Source, max_size: u64) -> Result<Manifest> {
    let mut manifest = Manifest::default();
    let (mut size, mut members) = (0, 0);
    source.visit(&mut |member| {
        members += 1;
        let entry = match member.content {
            Content::Directory => Entry::Directory { mode: member.mode },
            Content::Link(target) => Entry::Link { target },
            Content::File(length, content) => {
                size += length;
                // A tarball's header says how long a file is before it is unpacked, so a bomb is not read.
                if size > max_size || members > MAX_MEMBERS {
                    let what = format!("it holds more than {max_size} bytes, or {MAX_MEMBERS} files");
                    return Err(Error::config(what).with_hint("a larger release needs `max_size`"));
                }
                Entry::File { mode: member.mode, sha256: digest(content, length, &mut io::sink())?, size: length }
            }
        };
        manifest.add(&member.path, entry)
    })?;
    if manifest.files() == 0 {
        return Err(Error::config("there is no file in it"));
    }
    Ok(manifest)
}

/// Copies what is read, which must be of this length, and returns its SHA-256 in hexadecimal.
fn digest(content: &mut dyn Read, length: u64, copy: &mut dyn io::Write) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut rest = length;
    while rest > 0 {
        let most = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let count = content.read(&mut buffer[..most]).map_err(|error| crate::source::not_whole(&error))?;
        if count == 0 {
            return Err(changed());
        }
        hash.update(&buffer[..count]);
        copy.write_all(&buffer[..count]).map_err(Error::from)?;
        rest -= count as u64;
    }
    Ok(hex(hash.finalize()))
}

fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "it changed while it was read").with_hint("deploy what nobody builds meanwhile")
}

fn pack(artifact: &Artifact, base: &Manifest) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new().map_err(Error::from)?;
    let is_dense = artifact.source.is_dense(artifact.size());
    let level = if is_dense { flate2::Compression::none() } else { flate2::Compression::fast() };
    let encoder = GzEncoder::new(io::BufWriter::new(file.as_file()), level);
    let mut builder = tar::Builder::new(encoder);
    for (path, entry) in artifact.manifest.entries() {
        if let Entry::Directory { mode } = entry {
            let mut header = header(tar::EntryType::Directory, *mode, 0, 0);
            builder.append_data(&mut header, path, io::empty()).map_err(Error::from)?;
        }
    }
    artifact.source.visit(&mut |member| {
        let known = artifact.manifest.get(&member.path).ok_or_else(changed)?;
        if base.get(&member.path) == Some(known) {
            return Ok(());
        }
        match (member.content, known) {
            (Content::Directory, Entry::Directory { .. }) => Ok(()),
            (Content::Link(target), Entry::Link { target: before }) if target == *before => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0, member.modified);
                builder.append_link(&mut header, &member.path, &target).map_err(Error::from)
            }
            (Content::File(length, content), Entry::File { mode, sha256, size }) if length == *size => {
                let mut header = header(tar::EntryType::Regular, *mode, length, member.modified);
                let mut content = content.take(length);
                let mut hashing = Hashing { content: &mut content, hash: Sha256::new() };
                builder.append_data(&mut header, &member.path, &mut hashing).map_err(Error::from)?;
                if hex(hashing.hash.finalize()) == *sha256 { Ok(()) } else { Err(changed()) }
            }
            _ => Err(changed()),
        }
    })?;
    let encoder = builder.into_inner().map_err(Error::from)?;
    encoder.finish().and_then(|mut buffered| buffered.flush()).map_err(Error::from)?;
    Ok(file)
}

fn header(kind: tar::EntryType, mode: u32, size: u64, modified: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(modified);
    header
}

struct Hashing<'a> {
    content: &'a mut dyn Read,
    hash: Sha256,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
