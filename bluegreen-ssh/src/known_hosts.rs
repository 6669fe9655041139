//! Reading and extending `known_hosts` files, by the rules of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

use std::fmt;
use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bluegreen_core::{Error, Result};
use ring::hmac;
use russh::keys::PublicKey;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use wildmatch::WildMatch;

use crate::text::read_text;

/// One line that speaks of the host that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) marker: Option<Marker>,
    pub(crate) key: PublicKey,
}

/// A line of a file, as it is shown to people.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    file: Arc<Path>,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The name under which a host is recorded: `host`, or `[host]:port` where the port is not 22.
pub(crate) fn recorded_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == crate::destination::DEFAULT_PORT { host } else { format!("[{host}]:{port}") }
}

/// The lines of all files that match `name`. A file that does not exist has none; a line that cannot be read is
/// skipped, as OpenSSH does, and logged.
pub(crate) fn lookup(files: &[PathBuf], name: &str) -> Result<Vec<Known>> {
    let mut found = Vec::new();
    for file in files {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(error) if error.kind() == Io::NotFound => continue,
            Err(error) => return Err(at(file, error)),
        };
        let path: Arc<Path> = Arc::from(file.as_path());
        for (index, line) in text.lines().enumerate() {
            let place = Place { file: Arc::clone(&path), line: index + 1 };
            // The parser wants single blanks; the format allows any white space.
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.parse::<Entry>() {
                Ok(entry) if matches(entry.host_patterns(), name) => {
                    found.push(Known { place, marker: entry.marker().copied(), key: entry.public_key().clone() });
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%place, %error, "a line of a known_hosts file cannot be read"),
            }
        }
    }
    Ok(found)
}

/// Appends the key of a host, durably. The file and its directory are made when they are missing.
pub(crate) fn record(file: &Path, name: &str, key: &PublicKey) -> Result<()> {
    let text = key.to_openssh().map_err(|error| Error::config("the host key cannot be written").with_source(error))?;
    let words: Vec<_> = text.split(' ').take(2).collect();
    let line = format!("{name} {}\n", words.join(" "));
    let write = || {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let newline = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{newline}{line}").as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| at(file, error).with_operation("record the host key"))
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let one = |pattern: &str| WildMatch::new(&pattern.to_lowercase()).matches(name);
            let (negative, positive): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.starts_with('!'));
            !negative.iter().any(|pattern| one(&pattern[1..])) && positive.iter().any(|pattern| one(pattern))
        }
    }
}

fn at(file: &Path, error: std::io::Error) -> Error {
    Error::from(error).not_applied().with("file", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn lines(text: &str, name: &str) -> Vec<(usize, Option<Marker>)> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, text).unwrap();
        let found = lookup(&[directory.path().join("missing"), file], name).unwrap();
        found.iter().map(|known| (known.place.line, known.marker)).collect()
    }

    #[test]
    fn names_ports_patterns_negations_and_markers_match_as_in_openssh() {
        let text = format!(
            "# comment\n\nweb1,10.0.0.1 {ONE} me@laptop\n[web1]:2222\t{ONE}\n*.example.com,!db.example.com {OTHER}\n\
             @revoked * {OTHER}\n@cert-authority *.example.com {ONE}\nbroken line\nWEB9 {ONE}\n"
        );
        let revoked = (6, Some(Marker::Revoked));
        let authority = (7, Some(Marker::CertAuthority));
        assert_eq!(lines(&text, "web1"), [(3, None), revoked]);
        assert_eq!(lines(&text, "10.0.0.1"), [(3, None), revoked]);
        assert_eq!(lines(&text, "[web1]:2222"), [(4, None), revoked]);
        assert_eq!(lines(&text, "app.example.com"), [(5, None), revoked, authority]);
        assert_eq!(lines(&text, "db.example.com"), [revoked, authority]);
        assert_eq!(lines(&text, "web9"), [revoked, (9, None)]);
        assert_eq!(lines(&text, "web2"), [revoked]);
    }

    #[test]
    fn a_comment_that_is_not_utf_8_is_no_hindrance() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, [format!("web1 {ONE} J").as_bytes(), b"\xfcrgen\nweb2 ", OTHER.as_bytes()].concat())
            .unwrap();
        for name in ["web1", "web2"] {
            assert_eq!(lookup(std::slice::from_ref(&file), name).unwrap().len(), 1, "{name}");
        }
    }

    #[test]
    fn a_hashed_name_matches_its_host_only() {
        let text = format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {ONE}\n");
        assert_eq!(lines(&text, "example.com"), [(1, None)]);
        assert_eq!(lines(&text, "example.org"), []);
    }

    #[test]
    fn a_recorded_key_is_found_again_also_after_a_file_without_a_last_newline() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/known_hosts");
        let key = PublicKey::from_openssh(ONE).unwrap();
        record(&file, "web1", &key).unwrap();
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        record(&file, "[web2]:22022", &key).unwrap();
        for (line, name) in [(1, "web1"), (2, "[web2]:22022")] {
            let found = lookup(std::slice::from_ref(&file), name).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].place.line, found[0].key.key_data()), (line, key.key_data()));
        }
    }
}
