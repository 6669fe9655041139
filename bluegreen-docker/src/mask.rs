//! Hides the values that were given as secrets in texts from outside.

use std::fmt;

use bluegreen_core::Secret;

/// What stands in the place of a secret.
const MASKED: &str = "***";

/// Shorter ones are no secrets but settings such as `4` or `true`, and hiding these would make texts unreadable.
const SHORTEST: usize = 6;

/// The values of the variables that were given for the compose file.
#[derive(Clone, Default)]
pub(crate) struct Mask(Vec<Secret>);

impl Mask {
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let long = secrets.map(Secret::reveal).filter(|secret| secret.len() >= SHORTEST);
        // Compose doubles each dollar in what it prints.
        let forms = long.flat_map(|secret| [secret.to_owned(), secret.replace('$', "$$")]);
        let mut secrets: Vec<_> = forms.map(Secret::new).collect();
        // One that is a part of another must not uncover the rest of that.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self(secrets)
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let hide = |text: String, secret: &Secret| match text.contains(secret.reveal()) {
            true => text.replace(secret.reveal(), MASKED),
            false => text,
        };
        self.0.iter().fold(text.to_owned(), hide)
    }

    pub(crate) fn apply_to_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.apply(&String::from_utf8_lossy(bytes)).into_bytes()
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} values)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_settings_are_not() {
        let secrets = ["4", "hunter2", "hunter2-and-more", "pa$$word"].map(Secret::new);
        let mask = Mask::new(secrets.iter());
        assert_eq!(mask.apply("4 times hunter2, hunter2-and-more"), "4 times ***, ***");
        assert_eq!(mask.apply("pa$$word, pa$$$$word"), "***, ***");
        assert!(!format!("{mask:?}").contains("hunter"));
    }
}
