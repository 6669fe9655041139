//! What the parser of `~/.ssh/config` passes over in silence, and `ssh` does not: found line by line, and refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bluegreen_core::{Error, Result};

use crate::text::read_text;

/// Settings that may stand once in a block: `ssh` takes the first of several, and the parser the last.
const ONCE: &[&str] = &[
    "hostname",
    "user",
    "port",
    "proxyjump",
    "proxycommand",
    "certificatefile",
    "connecttimeout",
    "identitiesonly",
    "identityagent",
    "hostkeyalias",
    "userknownhostsfile",
    "globalknownhostsfile",
    "knownhostscommand",
    "revokedhostkeys",
    "canonicalizehostname",
    "addressfamily",
    "pkcs11provider",
    "bindaddress",
    "bindinterface",
    "pubkeyauthentication",
];

/// So many files may include one another, as in `ssh`.
const MAX_DEPTH: usize = 16;

/// Whether a setting is understood or refused, so that it counts who it is for.
pub(crate) fn counts(keyword: &str) -> bool {
    ONCE.contains(&keyword) || matches!(keyword, "identityfile" | "include")
}

/// Refuses what would not count as it does in `ssh`, in a file and in all that it includes.
pub(crate) fn check(file: &Path, text: &str) -> Result<()> {
    check_at(file, text, 0)
}

fn check_at(file: &Path, text: &str, depth: usize) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let located = |error: Error| error.with("line", format!("{}:{}", file.display(), index + 1));
        let (keyword, value) = words(line);
        match keyword.as_str() {
            // What comes after an `Include` is a new block for the parser, and the first of two blocks counts.
            "host" | "match" => seen.clear(),
            "include" => {
                seen.clear();
                for included in included(value, depth).map_err(located)? {
                    let text = read_included(&included).map_err(located)?;
                    check_at(&included, &text, depth + 1)?;
                }
            }
            keyword if ONCE.contains(&keyword) && !seen.insert(keyword.to_owned()) => {
                return Err(located(Error::config(format!("{keyword} is there twice for the same host")))
                    .with_hint("ssh takes the first: remove the other"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keyword in lower case, and what it is set to.
pub(crate) fn words(line: &str) -> (String, &str) {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    (keyword.to_lowercase(), rest.trim().trim_start_matches('=').trim())
}

pub(crate) fn read_included(file: &Path) -> Result<String> {
    read_text(file).map_err(|error| Error::from(error).with("included file", file.display()))
}

/// The files that an `Include` names, in a file that so many others include one in the other.
pub(crate) fn included(value: &str, depth: usize) -> Result<Vec<PathBuf>> {
    if depth >= MAX_DEPTH {
        return Err(Error::config(format!(
            "more than {MAX_DEPTH} files include each other: does it lead in a circle?"
        )));
    }
    let mut files = Vec::new();
    for pattern in patterns(value)? {
        let found = glob::glob(&pattern)
            .map_err(|error| Error::config(format!("{pattern} is not a pattern for files")).with_source(error))?;
        for file in found {
            files.push(file.map_err(|error| Error::config(error.to_string()))?);
        }
    }
    Ok(files)
}

fn patterns(value: &str) -> Result<Vec<String>> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let words = match quoted {
        Some((word, rest)) if rest.is_empty() || rest.trim_start().starts_with('#') => vec![word],
        None if !value.contains('"') => {
            value.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>()
        }
        _ => {
            return Err(Error::config("more than one quoted name in an Include is not understood")
                .with_hint("give each a line of its own"));
        }
    };
    words.into_iter().map(pattern).collect()
}

/// By the rules of ssh_config(5): beside the user's own file, unless the path is whole.
fn pattern(word: &str) -> Result<String> {
    if word.starts_with('/') {
        return Ok(word.to_owned());
    }
    let (directory, rest) = match word.strip_prefix("~/") {
        Some(rest) => ("", rest),
        None if word.starts_with('~') => return Err(Error::config(format!("{word}: only ~/ is understood"))),
        None => (".ssh/", word),
    };
    let home = std::env::home_dir().ok_or_else(|| Error::config("there is no home directory"))?;
    Ok(format!("{}/{directory}{rest}", glob::Pattern::escape(&home.display().to_string())))
}
