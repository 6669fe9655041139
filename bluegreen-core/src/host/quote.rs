/// Quotes one word for a POSIX shell, so that the shell passes on exactly this word.
///
/// A word of harmless characters stays as it is; anything else is put into single quotes. A NUL cannot be passed to
/// any program: hosts refuse it before they get here.
///
/// ```
/// use bluegreen_core::host::quote;
///
/// assert_eq!(quote("/srv/shop-1.2"), "/srv/shop-1.2");
/// assert_eq!(quote("it's; rm -rf /"), r"'it'\''s; rm -rf /'");
/// ```
pub fn quote(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(harmless) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Quotes several words and joins them with blanks.
pub fn quote_all<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::HOSTILE_WORDS;

    #[test]
    fn a_real_shell_reads_every_hostile_word_as_one_word_unchanged() {
        for word in HOSTILE_WORDS {
            let script = format!("printf '%s' {}", quote(word));
            let output = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), *word, "{script}");
        }
        let all = format!("printf '%s\\0' {}", quote_all(HOSTILE_WORDS));
        let output = std::process::Command::new("sh").arg("-c").arg(&all).output().unwrap();
        let words: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        assert_eq!(&words[..HOSTILE_WORDS.len()], HOSTILE_WORDS);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn a_real_shell_reads_any_word_unchanged(word in "[^\0]{0,40}") {
            let script = format!("printf '%s' {}", quote(&word));
            let output = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
            proptest::prop_assert_eq!(output.stdout, word.into_bytes());
        }
    }
}
