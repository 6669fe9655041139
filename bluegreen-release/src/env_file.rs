//! A program's environment from a file, as `.env` files are written.

use std::collections::BTreeMap;
use std::path::Path;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, Result, Secret};

/// Reads a file of lines `NAME=value`, as `.env` files have them. A value with blanks, quotes or a `$` stands in single
/// quotes; one that shells and tools would each replace in their own way is refused.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let file = tempfile::NamedTempFile::new()?;
/// std::fs::write(file.path(), "# the shop\nDATABASE_URL='postgres://shop:pa$word@db/shop'\n")?;
/// let variables = bluegreen_release::read_env_file(file.path()).await?;
/// assert_eq!(variables["DATABASE_URL"].reveal(), "postgres://shop:pa$word@db/shop");
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of reading it; `Config` with the number of a line that cannot be read, and never with its text: it may hold a
/// secret.
pub async fn read_env_file(path: &Path) -> Result<BTreeMap<String, Secret>> {
    let about =
        |error: Error| error.not_applied().with_operation("read the environment file").with("file", path.display());
    let text = tokio::fs::read_to_string(path).await.map_err(|error| about(error.into()))?;
    let variables = parse(&text).map_err(about)?;
    variables.keys().try_for_each(|name| check_variable_name(name)).map_err(about)?;
    Ok(variables)
}

fn parse(text: &str) -> Result<BTreeMap<String, Secret>> {
    // First without any `$`: what cannot be read must not depend on what one is replaced by.
    entries(&with_each_dollar_as(text, |_| PLAIN))?;
    if let Some(line) = line_with_substitution(text) {
        return Err(Error::config(format!(
            "line {line} has a `$`, which shells and tools replace each in their own way"
        ))
        .with_hint("put the value in single quotes, in which it stands for itself"));
    }
    entries(text)
}

fn entries(text: &str) -> Result<BTreeMap<String, Secret>> {
    let mut variables = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = entry.map_err(|error| match error {
            dotenvy::Error::LineParse(said, _) => {
                // It is the line, or the part of it that could not be read.
                let is_it = |line: &str| !line.trim().is_empty() && (line.contains(&said) || said.contains(line));
                let number =
                    text.lines().position(is_it).map_or_else(|| "a line".to_owned(), |at| format!("line {}", at + 1));
                Error::config(format!("{number} is not NAME=value"))
                    .with_hint("put a value with blanks or backslashes in single quotes")
            }
            _ => Error::config("it is not a file of lines NAME=value"),
        })?;
        variables.insert(name, Secret::new(value));
    }
    Ok(variables)
}

/// What a `$` can be taken for anywhere, also behind a backslash, without a change to what is quoted.
const PLAIN: &str = "n";

/// An escape that does not exist, which is an error exactly where a `$` would be replaced: not in single quotes, not in a
/// comment, and not behind a backslash, where its own backslash is the one that is escaped.
const REFUSED: &str = "\\?";

/// The number of the first line with a `$` that dotenvy would replace. It is asked itself, since it has rules of its own
/// for what is quoted, and cannot be told to replace nothing.
fn line_with_substitution(text: &str) -> Option<usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains('$')).map(|(number, _)| number);
    let refused = |number| with_each_dollar_as(text, |other| if other == number { REFUSED } else { PLAIN });
    lines.into_iter().find(|number| entries(&refused(*number)).is_err()).map(|number| number + 1)
}

/// The text with something else in place of each `$`, by the number of its line.
fn with_each_dollar_as(text: &str, word: impl Fn(usize) -> &'static str) -> String {
    text.split_inclusive('\n').enumerate().map(|(number, line)| line.replace('$', word(number))).collect()
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
        for (text, line) in [
            ("A=pa$word", 1),
            ("A=1\nB=\"${HOME}\"", 2),
            ("A='x'$y", 1),
            ("A='x\n$y'\nB=$z", 3),
            // An apostrophe that quotes nothing.
            ("A=\"it's fine\"\nB=pa$word", 2),
            ("A=\"it's $5\"", 1),
            ("A=1 # don't share\nB=pa$word", 2),
            ("A=\"first\n isn't last\"\nB=$z", 3),
            // What is escaped is the backslash.
            (r"A=x\\$y", 1),
        ] {
            let told = parse(text).unwrap_err().chain();
            assert!(told.contains(&format!("line {line}")) && told.contains("single quotes"), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_dollar_that_stands_for_itself_is_taken() {
        for (text, expected) in [
            ("A='pa$word'", "pa$word"),
            (r"A=pa\$word", "pa$word"),
            (r#"A="pa\$word""#, "pa$word"),
            ("A='$a'\"it's\"'$b'", "$ait's$b"),
            ("A=1 # about $5", "1"),
            ("# it's $5\nA='$x'", "$x"),
        ] {
            assert_eq!(value(text, "A"), expected, "{text:?}");
        }
    }

    /// Every text of up to four characters that could matter, as a value and the beginning of the next line: what is not
    /// refused arrives the same whatever `W` is, and with each `$` in its place.
    #[test]
    fn whatever_is_not_refused_arrives_as_it_is_written() {
        let read = |w: &str, text: &str| {
            let text = format!("W={w}\n{text}");
            dotenvy::from_read_iter(text.as_bytes()).skip(1).map(|entry| entry.unwrap().1).collect::<Vec<_>>()
        };
        let plain = |values: Vec<String>| values.concat().replace(['$', '\n'], "n");
        let (mut taken, mut refused) = (0, 0);
        let mut values = vec![String::new()];
        for _ in 0..4 {
            values =
                values.iter().flat_map(|value| "'\"\\$W# \n".chars().map(move |c| format!("{value}{c}"))).collect();
            for text in values.iter().flat_map(|value| ["$W", "'$W'"].map(|next| format!("A={value}\nB={next}\n"))) {
                if parse(&text).is_err() {
                    refused += 1;
                    continue;
                }
                taken += 1;
                let values = read("one", &text);
                assert_eq!(values, read("two", &text), "{text:?}");
                assert_eq!(plain(values), plain(read("one", &text.replace('$', "n"))), "{text:?}");
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_by_its_number_and_not_by_its_text() {
        for (text, line) in [("A=1\nB=hunter2 and more", 2), ("hunter2", 1), ("A=hunter2\\", 1)] {
            let told = parse(text).unwrap_err().chain();
            assert!(told.contains(&format!("line {line}")) && !told.contains("hunter2"), "{text:?}: {told}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let told = read_env_file(Path::new("/nonexistent/.env")).await.unwrap_err().chain();
        assert!(told.contains("/nonexistent/.env"), "{told}");
    }
}
