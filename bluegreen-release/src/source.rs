//! Reading an artifact: a tarball, a directory or a single file, member by member.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bluegreen_core::{Error, ErrorKind, Result};
use flate2::read::GzDecoder;
use tar::EntryType;

use crate::member::{check_link, hostile, inside};

/// Permissions; what makes a file run as another user is left out.
const PERMISSIONS: u32 = 0o777;

const BUFFER: usize = 1 << 18;

/// What compressed files begin with.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// One member, with its content to read where it is a file.
pub(crate) struct Member<'a> {
    pub(crate) path: String,
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    pub(crate) content: Content<'a>,
}

pub(crate) enum Content<'a> {
    Directory,
    Link(String),
    File(u64, &'a mut dyn Read),
}

/// Where a release's content comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// How many leading directories of a tarball's members are left out.
    pub(crate) strip_components: usize,
    /// The path of a single file in the release.
    pub(crate) file_path: String,
}

impl Source {
    /// Calls `visit` for each member, in an order in which links come after nothing in particular.
    ///
    /// # Errors
    /// `NotFound` when there is no artifact; `Corrupt` when it is cut off; `Config` for a member that no release may hold;
    /// and what `visit` returns.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(Member<'_>) -> Result<()>) -> Result<()> {
        let metadata = fs::metadata(&self.path).map_err(Error::from)?;
        if metadata.is_dir() {
            return self.visit_directory(&self.path, "", visit);
        }
        if !metadata.is_file() {
            return Err(Error::config("it is neither a file nor a directory"));
        }
        let mut file = File::open(&self.path).map_err(Error::from)?;
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head).map_err(Error::from)?;
        file.rewind().map_err(Error::from)?;
        let mut buffered = BufReader::with_capacity(BUFFER, file);
        if head.starts_with(GZIP) {
            self.visit_tarball(GzDecoder::new(buffered), visit)
        } else if head.starts_with(ZSTD) {
            let decoder = ruzstd::decoding::StreamingDecoder::new(buffered);
            self.visit_tarball(decoder.map_err(|error| not_whole(&error))?, visit)
        } else if head.get(257..262) == Some(b"ustar") {
            self.visit_tarball(buffered, visit)
        } else {
            visit(Member {
                path: self.file_path.clone(),
                mode: 0o755,
                modified: modified(&metadata),
                content: Content::File(metadata.len(), &mut buffered),
            })
        }
    }

    /// Whether it was compressed and got hardly smaller than the bytes it holds, so that trying again is lost time.
    pub(crate) fn is_dense(&self, unpacked: u64) -> bool {
        let mut head = Vec::new();
        let length = File::open(&self.path).and_then(|file| {
            (&file).take(4).read_to_end(&mut head)?;
            file.metadata().map(|metadata| metadata.len())
        });
        let is_compressed = head.starts_with(GZIP) || head.starts_with(ZSTD);
        is_compressed && length.is_ok_and(|length| length > unpacked - unpacked / 10)
    }

    fn visit_tarball(&self, reader: impl Read, visit: &mut dyn FnMut(Member<'_>) -> Result<()>) -> Result<()> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|error| not_whole(&error))? {
            let mut entry = entry.map_err(|error| not_whole(&error))?;
            let name = entry.path_bytes().into_owned();
            let Some(path) = self.stripped(&inside(&name)?) else { continue };
            let mode = entry.header().mode().unwrap_or(0o644) & PERMISSIONS;
            let modified = entry.header().mtime().unwrap_or(0);
            let content = match entry.header().entry_type() {
                EntryType::Directory => Content::Directory,
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    Content::File(entry.size(), &mut entry)
                }
                EntryType::Symlink => Content::Link(check_link(&path, &entry.link_name_bytes().unwrap_or_default())?),
                EntryType::Link => {
                    let advice = "pack the release again so that each file stands for itself: tar --hard-dereference";
                    return Err(Error::config(format!("{path:?} is a hard link")).with_hint(advice));
                }
                EntryType::XGlobalHeader | EntryType::XHeader => continue,
                other => return Err(hostile(&name, &format!("is neither a file, a directory nor a link ({other:?})"))),
            };
            visit(Member { path, mode, modified, content })?;
        }
        // Only at the end of the stream is its checksum compared.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| not_whole(&error))?;
        Ok(())
    }

    /// `None` for what is left out.
    fn stripped(&self, path: &str) -> Option<String> {
        let rest: Vec<_> = path.split('/').skip(self.strip_components).collect();
        Some(rest.join("/")).filter(|path| !path.is_empty())
    }

    fn visit_directory(
        &self,
        directory: &Path,
        above: &str,
        visit: &mut dyn FnMut(Member<'_>) -> Result<()>,
    ) -> Result<()> {
        let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = entries.map_err(|error| Error::from(error).with("directory", directory.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let about = |error: io::Error| Error::from(error).with("file", entry.path().display());
            let name = entry.file_name();
            let joined = if above.is_empty() { name.clone() } else { Path::new(above).join(&name).into() };
            let path = inside(joined.as_encoded_bytes())?;
            let metadata = entry.path().symlink_metadata().map_err(about)?;
            let (mode, modified) = (metadata.permissions().mode() & PERMISSIONS, modified(&metadata));
            let kind = metadata.file_type();
            if kind.is_dir() {
                visit(Member { path: path.clone(), mode, modified, content: Content::Directory })?;
                self.visit_directory(&entry.path(), &path, visit)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(about)?;
                let target = check_link(&path, target.as_os_str().as_encoded_bytes())?;
                visit(Member { path, mode, modified, content: Content::Link(target) })?;
            } else if kind.is_file() {
                let mut file = File::open(entry.path()).map_err(about)?;
                visit(Member { path, mode, modified, content: Content::File(metadata.len(), &mut file) })?;
            } else {
                return Err(hostile(path.as_bytes(), "is neither a file, a directory nor a link"));
            }
        }
        Ok(())
    }
}

fn modified(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

pub(crate) fn not_whole(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("it is not a whole tarball: {error}"))
        .with_hint("was the build or a copy cut off? build it again")
}
