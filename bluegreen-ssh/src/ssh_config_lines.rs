//! What the parser of `~/.ssh/config` passes over in silence, and `ssh` does not: found line by line, and refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bluegreen_core::{Error, Result};

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

/// Refuses what would not count as it does in `ssh`, in a file and in all that it includes. These must not include each
/// other in a circle.
pub(crate) fn check(file: &Path, text: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let located = |error: Error| error.with("line", format!("{}:{}", file.display(), index + 1));
        let (keyword, value) = words(line);
        match keyword.as_str() {
            // What comes after an `Include` is a new block for the parser, and the first of two blocks counts.
            "host" | "match" => seen.clear(),
            "include" => {
                seen.clear();
                for included in included(value).map_err(located)? {
                    let text = std::fs::read_to_string(&included)
                        .map_err(|error| located(Error::from(error).with("included file", included.display())))?;
                    check(&included, &text)?;
                }
            }
            keyword if ONCE.contains(&keyword) && !seen.insert(keyword.to_owned()) => {
                return Err(located(Error::config(format!("{keyword} is there twice for the same host")))
                    .advice("ssh takes the first: remove the other"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keyword in lower case, and what it is set to.
fn words(line: &str) -> (String, &str) {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    (keyword.to_lowercase(), rest.trim().trim_start_matches('=').trim())
}

/// The files that an `Include` names.
fn included(value: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns(value)? {
        let found = glob::glob(&pattern)
            .map_err(|error| Error::config(format!("{pattern} is not a pattern for files")).because(error))?;
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
                .advice("give each a line of its own"));
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
