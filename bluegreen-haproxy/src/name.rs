//! [`Name`]: what may stand in a command as the name of a backend or a server.

use std::fmt;

use bluegreen_core::{Error, Result};

/// Long enough for any name, and short enough that a line of commands stays within HAProxy's buffer of 16 KiB.
const MAX_LENGTH: usize = 64;

/// A name of HAProxy's: letters, digits, `.`, `:`, `-` and `_`, so that it can be neither a second word of a command nor a second
/// command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    /// # Errors
    /// `Config` for anything else, with `what` it should have been the name of.
    pub(crate) fn new(what: &str, text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let is_name = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte));
        match is_name {
            true => Ok(Self(text)),
            false => Err(Error::config(format!("{text:?} cannot be the name of a {what}"))
                .with_hint(format!("use 1 to {MAX_LENGTH} letters, digits, `.`, `:`, `-` and `_`"))),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_core::testing::HOSTILE_WORDS;

    use super::*;

    #[test]
    fn a_name_is_one_word_of_one_command() {
        for good in ["shop", "blue-1", "be_shop.v2:web"] {
            assert_eq!(Name::new("backend", good).unwrap().as_str(), good);
        }
        for bad in ["shop;shutdown sessions", "a/b", "#1", "a\\", "a<<b", "@1", &"x".repeat(65)] {
            assert!(Name::new("backend", bad).is_err(), "{bad:?}");
        }
        for word in HOSTILE_WORDS {
            let harmless = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            assert_eq!(Name::new("server", *word).is_ok(), harmless, "{word:?}");
        }
    }
}
