use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const MAX_LENGTH: usize = 128;

/// Why a name is refused, or `None`. Names end up in paths, process environments, labels and URLs, so what they may
/// hold is decided here, once.
fn refused(kind: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(format!("a {kind} must not be empty"));
    }
    if text.len() > MAX_LENGTH {
        return Some(format!("a {kind} has at most {MAX_LENGTH} characters, this one has {}", text.len()));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._+-".contains(*c))) {
        return Some(format!("a {kind} is made of A-Z a-z 0-9 . _ + - only, and {text:?} contains {bad:?}"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some(format!("a {kind} starts with a letter or a digit, and {text:?} does not"));
    }
    None
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("A valid ", $kind, ".")]
            ///
            /// # Errors
            /// `Config` when it is empty, longer than 128 characters, does not start with a letter or a digit, or has
            /// characters outside `[A-Za-z0-9._+-]`.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                match refused($kind, &text) {
                    Some(why) => Err(Error::config(why)),
                    None => Ok(Self(text)),
                }
            }

            /// For names that are valid by inspection.
            #[allow(dead_code, reason = "not every kind of name has a fixed one")]
            pub(crate) fn from_static(text: &'static str) -> Self {
                debug_assert!(refused($kind, text).is_none());
                Self(text.to_owned())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// What is deployed. One service has one state document, one router and two slots.
    ServiceName, "service name"
}

name! {
    /// The name of one release. It is never reused for other content.
    Version, "version"
}

name! {
    /// The name of one operation (a deploy, a rollback, ...), unique for its service.
    OperationId, "operation id"
}

name! {
    /// The name of one member of a [`Fleet`](crate::fleet::Fleet), unique in it: `web1`.
    MemberName, "member name"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_characters_that_a_shell_a_path_or_a_url_could_misread_are_refused() {
        for bad in
            ["", "a b", "1.0/..", "..", ".hidden", "-rf", "1;rm", "1$x", "ü", "a\n", "a'b", "a\0", &"x".repeat(129)]
        {
            let error = Version::new(bad).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Config, "{bad:?}");
        }
        for good in ["1", "1.0.0+build.5", "v2_final-3", "a"] {
            assert_eq!(Version::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_stored_name_is_validated_when_it_is_read() {
        assert!(serde_json::from_str::<Version>("\"a b\"").is_err());
        assert!(serde_json::from_str::<Version>("\"1.0\"").is_ok());
    }
}
