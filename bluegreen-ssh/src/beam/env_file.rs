//! The app's environment from a file, as `.env` files are written.

use std::collections::BTreeMap;
use std::path::Path;

use bluegreen_core::{Error, Result, Secret};

/// Reads a file of lines `NAME=value`.
///
/// # Errors
/// Those of reading it; `Config` with the number of a line that cannot be read, and never with its text: it may hold a
/// secret.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Secret>> {
    let about = |error: Error| error.not_applied().trying("read the environment file").with("file", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| about(error.into()))?;
    parse(&text).map_err(about)
}

fn parse(text: &str) -> Result<BTreeMap<String, Secret>> {
    if let Some(line) = line_with_substitution(text) {
        return Err(Error::config(format!(
            "line {line} has a `$`, which shells and tools replace each in their own way"
        ))
        .advice("put the value in single quotes, in which it stands for itself"));
    }
    let mut variables = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = entry.map_err(|error| match error {
            dotenvy::Error::LineParse(said, _) => {
                // It is the line, or the part of it that could not be read.
                let is_it = |line: &str| !line.trim().is_empty() && (line.contains(&said) || said.contains(line));
                let number =
                    text.lines().position(is_it).map_or_else(|| "a line".to_owned(), |at| format!("line {}", at + 1));
                Error::config(format!("{number} is not NAME=value"))
                    .advice("put a value with blanks or backslashes in single quotes")
            }
            _ => Error::config("it is not a file of lines NAME=value"),
        })?;
        variables.insert(name, Secret::new(value));
    }
    Ok(variables)
}

/// The number of the first line with a `$` that is neither in single quotes, nor behind a backslash, nor in a comment.
fn line_with_substitution(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (number, line) in text.lines().enumerate() {
        if !quoted && line.trim_start().starts_with('#') {
            continue;
        }
        let mut before = None;
        for c in line.chars() {
            match c {
                '\'' if before != Some('\\') || quoted => quoted = !quoted,
                '$' if !quoted && before != Some('\\') => return Some(number + 1),
                _ => {}
            }
            before = Some(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> String {
        parse(text).unwrap()[name].reveal().to_owned()
    }

    #[test]
    fn values_arrive_as_they_are_written() {
        let text =
            "# for $us\nA=plain\nexport B='pa$word \"x\" # no comment'\nC=\"two words\"\nD='first\nsecond'\n\nE=\n";
        for (name, expected) in
            [("A", "plain"), ("B", "pa$word \"x\" # no comment"), ("C", "two words"), ("D", "first\nsecond"), ("E", "")]
        {
            assert_eq!(value(text, name), expected, "{name}");
        }
    }

    #[test]
    fn a_value_that_would_be_replaced_is_refused_and_not_changed_in_silence() {
        for (text, line) in [("A=pa$word", 1), ("A=1\nB=\"${HOME}\"", 2), ("A='x'$y", 1), ("A='x\n$y'\nB=$z", 3)] {
            let told = parse(text).unwrap_err().chain();
            assert!(told.contains(&format!("line {line}")) && told.contains("single quotes"), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_by_its_number_and_not_by_its_text() {
        for (text, line) in [("A=1\nB=hunter2 and more", 2), ("hunter2", 1), ("A=hunter2\\", 1)] {
            let told = parse(text).unwrap_err().chain();
            assert!(told.contains(&format!("line {line}")) && !told.contains("hunter2"), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let told = read(Path::new("/nonexistent/.env")).unwrap_err().chain();
        assert!(told.contains("/nonexistent/.env"), "{told}");
    }
}
