//! Looking into a release's tarball before it gets to unpack anything on a server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use bluegreen_core::{Error, ErrorKind, Result, hex};
use flate2::read::GzDecoder;
use ring::digest::{Context, SHA256};
use tar::{Archive, EntryType};

/// What is known of a tarball that can be unpacked safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Of the file as it is, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) size: u64,
    /// The programs in `bin`.
    pub(crate) programs: BTreeSet<String>,
}

/// Reads a tarball to its end.
///
/// # Errors
/// `NotFound` when there is no such file; `Corrupt` when it is no whole `.tar.gz`; `Config` when a member could land or
/// point outside of the directory in which it is unpacked, or is neither file, directory nor link.
pub(crate) async fn read(path: &Path) -> Result<Contents> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_now(&owned)).await;
    let read = read
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Unexpected, "the reading was cut off").with_source(error)));
    read.map_err(|error| {
        error.not_applied().with_operation("read the release's tarball").with("artifact", path.display())
    })
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// Those of reading it.
pub(crate) async fn digest(path: &Path) -> Result<String> {
    let owned = path.to_owned();
    let compute = move || {
        let mut source = Hashing { file: File::open(&owned)?, hash: Context::new(&SHA256), size: 0 };
        io::copy(&mut io::BufReader::with_capacity(1 << 18, &mut source), &mut io::sink())?;
        Ok(source.finish().0)
    };
    let computed = tokio::task::spawn_blocking(compute).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    computed.map_err(|error| {
        Error::from(error).not_applied().with_operation("read the artifact").with("artifact", path.display())
    })
}

fn read_now(path: &Path) -> Result<Contents> {
    let file = File::open(path).map_err(Error::from)?;
    if !file.metadata().map_err(Error::from)?.is_file() {
        return Err(
            Error::config("it is not a file").with_hint("give the .tar.gz that `mix release` made with the step :tar")
        );
    }
    let mut source = Hashing { file, hash: Context::new(&SHA256), size: 0 };
    let mut members = Members::default();
    let mut archive = Archive::new(GzDecoder::new(io::BufReader::with_capacity(1 << 18, &mut source)));
    for entry in archive.entries().map_err(not_whole)? {
        let entry = entry.map_err(not_whole)?;
        let header = entry.header();
        members.add(
            &entry.path_bytes(),
            header.entry_type(),
            entry.link_name_bytes().as_deref(),
            header.mode().unwrap_or(0),
        )?;
    }
    // Only at the end of the stream is its checksum compared.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(not_whole)?;
    drop(rest);
    io::copy(&mut source, &mut io::sink()).map_err(Error::from)?;
    let programs = members.check()?;
    let (sha256, size) = source.finish();
    Ok(Contents { sha256, size, programs })
}

struct Hashing {
    file: File,
    hash: Context,
    size: u64,
}

impl Hashing {
    fn finish(self) -> (String, u64) {
        (hex(self.hash.finish()), self.size)
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

fn not_whole(error: io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, format!("it is not a whole .tar.gz file: {error}"))
        .with_hint("was the build or a copy cut off? build it again")
}

/// The members of an archive, by their paths from its root.
#[derive(Debug, Default)]
struct Members {
    kinds: BTreeMap<PathBuf, Kind>,
    hard_links: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File { executable: bool },
    SymbolicLink,
}

impl Members {
    fn add(&mut self, name: &[u8], kind: EntryType, link: Option<&[u8]>, mode: u32) -> Result<()> {
        let path = inside(name).ok_or_else(|| hostile(name, "would be unpacked elsewhere"))?;
        let kind = match kind {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                Kind::File { executable: mode & 0o100 != 0 }
            }
            EntryType::Symlink => {
                let target = link.and_then(|link| std::str::from_utf8(link).ok()).unwrap_or_default();
                if !stays(&path, Path::new(target)) {
                    return Err(hostile(name, &format!("is a link that leaves the release, to {target:?}")));
                }
                Kind::SymbolicLink
            }
            EntryType::Link => {
                let target = link.and_then(inside).ok_or_else(|| hostile(name, "is a link that leaves the release"))?;
                self.hard_links.push((path.clone(), target));
                Kind::File { executable: mode & 0o100 != 0 }
            }
            EntryType::XGlobalHeader | EntryType::XHeader => return Ok(()),
            other => return Err(hostile(name, &format!("is neither a file, a directory nor a link ({other:?})"))),
        };
        // A link is remembered, whatever else has its name too.
        if self.kinds.get(&path) != Some(&Kind::SymbolicLink) {
            self.kinds.insert(path, kind);
        }
        Ok(())
    }

    /// What can only be told when all members are known: that nothing is unpacked through a link.
    fn check(&self) -> Result<BTreeSet<String>> {
        let is_link = |path: &Path| self.kinds.get(path) == Some(&Kind::SymbolicLink);
        let through_link = |path: &Path| path.ancestors().skip(1).any(is_link);
        let reached = self.kinds.keys().chain(self.hard_links.iter().map(|(_, target)| target));
        if let Some(path) = reached.into_iter().find(|path| through_link(path)) {
            return Err(hostile(path.as_os_str().as_encoded_bytes(), "is reached through a link"));
        }
        if let Some((path, _)) = self.hard_links.iter().find(|(_, target)| is_link(target)) {
            return Err(hostile(path.as_os_str().as_encoded_bytes(), "is a link to a link"));
        }
        let programs = self.kinds.iter().filter(|(_, kind)| matches!(kind, Kind::File { executable: true }));
        let programs = programs.filter_map(|(path, _)| path.strip_prefix("bin").ok()?.to_str().map(str::to_owned));
        Ok(programs.collect())
    }
}

/// A path that stays in the directory it is resolved in, without its `.` components.
fn inside(name: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(name).ok()?;
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// Whether a symbolic link's target stays in the tree. `..` may only stand at its beginning, where the directories it
/// leaves are no links themselves: behind a name it might leave from wherever another link leads.
fn stays(link: &Path, target: &Path) -> bool {
    let depth = link.components().count().saturating_sub(1);
    let mut up = 0;
    let mut names = 0;
    for component in target.components() {
        match component {
            Component::ParentDir if names == 0 => up += 1,
            Component::Normal(_) => names += 1,
            Component::CurDir => {}
            _ => return false,
        }
    }
    up <= depth && (up > 0 || names > 0)
}

fn hostile(name: &[u8], what: &str) -> Error {
    Error::config(format!("the member {:?} {what}", String::from_utf8_lossy(name)))
        .with_hint("no release that mix makes has such a member: do not unpack this file anywhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_only_when_no_chain_of_links_can_lead_it_out() {
        let stay = |link: &str, target: &str| stays(Path::new(link), Path::new(target));
        for (link, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a/b", "./c"), ("a/b", "..")] {
            assert!(stay(link, target), "{link} -> {target}");
        }
        for (link, target) in
            [("a", "../b"), ("a/b", "../../c"), ("a", "/etc"), ("a/b", "c/../../.."), ("a", "b/.."), ("a", "")]
        {
            assert!(!stay(link, target), "{link} -> {target}");
        }
    }
}
