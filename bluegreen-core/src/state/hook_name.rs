use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};

const MAX_LENGTH: usize = 40;

/// The name of a hook: at most 40 characters of `A-Z a-z 0-9 . _ -`, of which the first is a letter or a digit.
///
/// It is held in place, so that a [`Step`](crate::state::Step) that carries it can be copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HookName {
    bytes: [u8; MAX_LENGTH],
    length: u8,
}

impl HookName {
    /// A valid name.
    ///
    /// # Errors
    /// `Config` when it is not.
    pub fn new(text: &str) -> Result<Self> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins_well || !text.bytes().all(is_valid) || text.len() > MAX_LENGTH {
            return Err(Error::config(format!(
                "{text:?} is not the name of a hook: use at most {MAX_LENGTH} of A-Z a-z 0-9 . _ -, with a letter or a \
                 digit first"
            )));
        }
        let mut bytes = [0; MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        // At most 40, as was checked.
        Ok(Self { bytes, length: u8::try_from(text.len()).unwrap_or(u8::MAX) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for HookName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl Serialize for HookName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_as_it_is_and_one_that_a_journal_could_misread_is_refused() {
        for good in ["clear-cache", "a", "2nd_hook.v1", &"x".repeat(40)] {
            assert_eq!(HookName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a:b", "a b", "é", "a\n", &"x".repeat(41)] {
            assert_eq!(HookName::new(bad).unwrap_err().kind(), crate::ErrorKind::Config, "{bad:?}");
        }
    }
}
