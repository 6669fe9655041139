//! [`Manifest`]: what a release consists of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bluegreen_core::{Error, Result, sha256_hex};

use crate::member::hostile;

/// Every directory, file and link of a release, with modes and digests. Two releases with the same manifest have the
/// same content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory { mode: u32 },
    File { mode: u32, sha256: String, size: u64 },
    Link { target: String },
}

impl Manifest {
    /// Adds an entry, and the directories above it.
    ///
    /// # Errors
    /// `Config` when something else has this path already, or it lies below something that is no directory.
    pub(crate) fn add(&mut self, path: &str, entry: Entry) -> Result<()> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for directory in above {
            match self.entries.get(directory) {
                None => drop(self.entries.insert(directory.to_owned(), Entry::Directory { mode: 0o755 })),
                Some(Entry::Directory { .. }) => {}
                Some(_) => return Err(hostile(path.as_bytes(), "lies below something that is no directory")),
            }
        }
        let is_directory = |entry: &Entry| matches!(entry, Entry::Directory { .. });
        match self.entries.get(path) {
            Some(old) if !(is_directory(old) && is_directory(&entry)) => {
                return Err(hostile(path.as_bytes(), "is there twice"));
            }
            _ => self.entries.insert(path.to_owned(), entry),
        };
        Ok(())
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Keeps the entries at these paths.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| keep(path));
    }

    /// How many bytes its files hold.
    pub(crate) fn size(&self) -> u64 {
        self.entries.values().map(Entry::size).sum()
    }

    /// Whether a file is the same in both, at the same path.
    pub(crate) fn shares_files_with(&self, other: &Self) -> bool {
        self.entries().any(|(path, entry)| matches!(entry, Entry::File { .. }) && other.get(path) == Some(entry))
    }

    pub(crate) fn files(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry, Entry::File { .. })).count()
    }

    /// A line per entry, in the order of the paths: `d MODE PATH`, `f MODE SHA256 SIZE PATH`, `l TARGET PATH`, with tabs.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (path, entry) in &self.entries {
            let _ = match entry {
                Entry::Directory { mode } => writeln!(text, "d\t{mode:o}\t{path}"),
                Entry::File { mode, sha256, size } => writeln!(text, "f\t{mode:o}\t{sha256}\t{size}\t{path}"),
                Entry::Link { target } => writeln!(text, "l\t{target}\t{path}"),
            };
        }
        text
    }

    /// Reads what [`text`](Self::text) wrote.
    ///
    /// # Errors
    /// `Corrupt` for any other text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let entry = |line: &str| {
            let fields: Vec<_> = line.split('\t').collect();
            let mode = |text| u32::from_str_radix(text, 8).ok();
            Some(match fields[..] {
                ["d", octal, path] => (path.to_owned(), Entry::Directory { mode: mode(octal)? }),
                ["f", octal, sha256, size, path] => (
                    path.to_owned(),
                    Entry::File { mode: mode(octal)?, sha256: sha256.to_owned(), size: size.parse().ok()? },
                ),
                ["l", target, path] => (path.to_owned(), Entry::Link { target: target.to_owned() }),
                _ => return None,
            })
        };
        let entries = text.lines().map(entry).collect::<Option<_>>();
        let error = || Error::new(bluegreen_core::ErrorKind::Corrupt, "it is not the manifest of a release");
        Ok(Self { entries: entries.ok_or_else(error)? })
    }

    /// The SHA-256 of its text, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        sha256_hex(self.text())
    }
}

impl Entry {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sha256: &str) -> Entry {
        Entry::File { mode: 0o755, sha256: sha256.to_owned(), size: 3 }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut manifest = Manifest::default();
        manifest.add("bin/shop", file("ab")).unwrap();
        manifest.add("public", Entry::Directory { mode: 0o750 }).unwrap();
        manifest.add("current log", Entry::Link { target: "public/a b".to_owned() }).unwrap();
        assert_eq!(manifest.get("bin"), Some(&Entry::Directory { mode: 0o755 }));
        assert_eq!(Manifest::parse(&manifest.text()).unwrap(), manifest);
        assert_eq!((manifest.size(), manifest.files()), (3, 1));
        for bad in ["x", "d\t9\ta", "f\t755\tab\tmany\ta", "f\t755\tab\t1"] {
            assert!(Manifest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_member_that_is_there_twice_or_reached_through_a_link_is_refused() {
        let mut manifest = Manifest::default();
        manifest.add("a", Entry::Link { target: "b".to_owned() }).unwrap();
        assert!(manifest.add("a/x", file("ab")).is_err());
        assert!(manifest.add("a", file("ab")).is_err());
        manifest.add("d", Entry::Directory { mode: 0o755 }).unwrap();
        manifest.add("d", Entry::Directory { mode: 0o700 }).unwrap();
    }
}
