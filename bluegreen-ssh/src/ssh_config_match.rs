//! The blocks of `~/.ssh/config`, decided for one host: the parser knows no `Match`, and none in what it includes.

use std::path::Path;

use bluegreen_core::{Error, Result};
use wildmatch::WildMatch;

use crate::settings::local_user;
use crate::ssh_config_lines::{counts, included, read_included, words};

/// The names of the host that is asked for.
pub(crate) struct Names<'a> {
    /// As one gives it to `ssh`.
    pub(crate) original: &'a str,
    /// What `HostName` makes of it. As long as it is not known, no `Match` block counts.
    pub(crate) host: Option<&'a str>,
}

/// What counts for one host, of a file and of all that it includes, in blocks that count for every host.
///
/// # Errors
/// `Config` when a block could count for the host, cannot be decided here, and sets something that is understood or refused;
/// when files include each other in a circle; else when an included file cannot be read.
pub(crate) fn decide(file: &Path, text: &str, names: &Names<'_>) -> Result<String> {
    let mut decided = String::with_capacity(text.len());
    append(&mut decided, file, text, names, 0)?;
    Ok(decided)
}

fn append(decided: &mut String, file: &Path, text: &str, names: &Names<'_>, depth: usize) -> Result<()> {
    let mut block = Block::Counts;
    for (index, line) in text.lines().enumerate() {
        let located = |error: Error, line: usize| error.with("line", format!("{}:{line}", file.display()));
        let (keyword, value) = words(line);
        match (keyword.as_str(), &block) {
            ("host" | "match", _) => {
                let holds = if keyword == "host" { Some(host(value, names)) } else { criteria(value, names) };
                block = match holds {
                    Some(true) => Block::Counts,
                    Some(false) => Block::LeftOut,
                    None => Block::Undecided(index + 1),
                };
                if holds == Some(true) {
                    decided.push_str(EVERYONE);
                }
            }
            (keyword, Block::Undecided(start)) if counts(keyword) => {
                let error = Error::config("a Match block that may count for this host is not understood").with_hint(
                    "understood are Match all, host, originalhost and localuser: use Host, or a file of its own for deploys",
                );
                return Err(located(error, *start));
            }
            ("include", Block::Counts) => {
                for file in included(value, depth).map_err(|error| located(error, index + 1))? {
                    let text = read_included(&file).map_err(|error| located(error, index + 1))?;
                    // The first of two blocks counts, but the last of two lines in one.
                    decided.push_str(EVERYONE);
                    append(decided, &file, &text, names, depth + 1)?;
                }
                decided.push_str(EVERYONE);
            }
            (_, Block::Counts) => {
                decided.push_str(line);
                decided.push('\n');
            }
            _ => {}
        }
    }
    Ok(())
}

enum Block {
    Counts,
    LeftOut,
    /// It begins on this line.
    Undecided(usize),
}

/// Begins a block that counts for every host.
const EVERYONE: &str = "Host *\n";

/// Whether a `Host` block counts.
fn host(value: &str, names: &Names<'_>) -> bool {
    // Every second piece stands in quotes.
    let pieces = value.split('"').enumerate();
    let mut patterns = Vec::new();
    for (index, piece) in pieces {
        if index % 2 == 1 {
            patterns.push(piece);
            continue;
        }
        let (words, comment) = piece.split_once('#').map_or((piece, None), |(words, rest)| (words, Some(rest)));
        patterns.extend(words.split_whitespace());
        if comment.is_some() {
            break;
        }
    }
    counts_among(patterns, names.original)
}

/// Whether all criteria of a block hold; `None` where that is not known. As long as one fails, the others do not matter.
fn criteria(value: &str, names: &Names<'_>) -> Option<bool> {
    let Some(host) = names.host else { return Some(false) };
    let value = value.split('#').next().unwrap_or_default();
    // What is quoted is not understood, nor what comes after it.
    let understood = value.split('"').next().unwrap_or_default();
    let mut words = understood.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    let mut all = Some(true);
    while let Some(word) = words.next() {
        let word = word.to_lowercase();
        let (negated, criterion) = word.strip_prefix('!').map_or((false, word.as_str()), |rest| (true, rest));
        let holds = match criterion {
            "all" => Some(true),
            "host" => words.next().map(|patterns| matches(patterns, host)),
            "originalhost" => words.next().map(|patterns| matches(patterns, names.original)),
            "localuser" => words.next().zip(local_user()).map(|(patterns, user)| matches(patterns, &user)),
            "canonical" | "final" => None,
            // The arguments of the others may hold anything.
            _ => return all.filter(|all| !all),
        };
        match holds.map(|holds| holds != negated) {
            Some(true) => {}
            Some(false) => all = Some(false),
            None => all = all.filter(|all| !all),
        }
    }
    if understood.len() < value.len() { all.filter(|all| !all) } else { all }
}

/// A list of patterns without blanks, in which upper and lower case are the same.
fn matches(patterns: &str, name: &str) -> bool {
    counts_among(patterns.to_lowercase().split(','), &name.to_lowercase())
}

/// By the rules of ssh_config(5), "PATTERNS": one that is negated and matches excludes.
fn counts_among<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let (negative, positive): (Vec<_>, Vec<_>) = patterns.into_iter().partition(|pattern| pattern.starts_with('!'));
    let one = |pattern: &str| WildMatch::new(pattern).matches(name);
    !negative.iter().any(|pattern| one(&pattern[1..])) && positive.iter().any(|pattern| one(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { original: "web1", host: Some("web1.example.com") };

    #[test]
    fn a_block_counts_when_all_its_criteria_hold_and_is_unknown_only_when_none_fails() {
        for (criteria_, holds) in [
            ("all", Some(true)),
            ("originalhost web1", Some(true)),
            ("originalhost web2,web*", Some(true)),
            ("originalhost web*,!web1", Some(false)),
            ("host web1", Some(false)),
            ("host *.example.com", Some(true)),
            ("host=*.EXAMPLE.com", Some(true)),
            ("!host *.example.com", Some(false)),
            ("host other exec \"test -e /x\"", Some(false)),
            ("host other exec true", Some(false)),
            ("exec true host other", None),
            ("host *.example.com exec true", None),
            ("host \"web1\"", None),
            ("user deploy", None),
            ("canonical all", None),
            ("final host other", Some(false)),
        ] {
            assert_eq!(criteria(criteria_, &NAMES), holds, "{criteria_}");
        }
    }

    #[test]
    fn a_block_that_is_not_understood_is_refused_only_when_it_sets_what_matters() {
        let text =
            "User a\nMatch exec true\n  ForwardX11 yes\nMatch originalhost web1\n  Port 2222\nHost x\n  User b\n";
        let decided = |text| decide(Path::new("config"), text, &NAMES);
        assert_eq!(decided(text).unwrap(), "User a\nHost *\n  Port 2222\n");
        let error = decided("Match user a\n  Port 3\n").unwrap_err();
        assert!(error.to_string().contains("config:1") && error.hint().is_some(), "{error}");
    }
}
