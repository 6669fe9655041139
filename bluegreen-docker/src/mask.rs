//! Hides the values that were given as secrets in texts from outside.

use std::{fmt, iter};

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
        // One of several lines, such as a key, is shown line by line.
        let parts =
            secrets.map(Secret::reveal).flat_map(|secret| iter::once(secret).chain(secret.lines().map(str::trim)));
        let long = parts.filter(|part| part.len() >= SHORTEST);
        // Compose doubles each dollar in what it prints.
        let mut forms: Vec<_> = long.flat_map(|part| [part.to_owned(), part.replace('$', "$$")]).collect();
        // One that is a part of another must not uncover the rest of that.
        forms.sort_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        forms.dedup();
        Self(forms.into_iter().map(Secret::new).collect())
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let hide = |text: String, secret: &Secret| match text.contains(secret.reveal()) {
            true => text.replace(secret.reveal(), MASKED),
            false => text,
        };
        self.0.iter().fold(text.to_owned(), hide)
    }

    /// Of a text that may be the end of a longer one; it may begin in the middle of a secret then.
    pub(crate) fn apply_to_end(&self, bytes: &[u8], is_cut: bool) -> String {
        let text = self.apply(&String::from_utf8_lossy(bytes));
        let longest = self.0.first().map_or(0, |secret| secret.reveal().len());
        if is_cut { text.chars().skip(longest).collect() } else { text }
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

    #[test]
    fn each_line_of_a_secret_of_several_lines_is_hidden() {
        let key = Secret::new("-----BEGIN KEY-----\r\nMIIB$hunter2\n-----END KEY-----\n");
        let mask = Mask::new(iter::once(&key));
        assert_eq!(mask.apply(key.reveal()), "***");
        assert_eq!(mask.apply("read MIIB$hunter2, then MIIB$$hunter2"), "read ***, then ***");
        assert_eq!(mask.apply("-----BEGIN KEY-----\nMIIB$hunter2\n"), "***\n***\n");
    }

    #[test]
    fn a_text_that_was_cut_shows_no_end_of_a_secret() {
        let secret = Secret::new("hunter2-and-more");
        let mask = Mask::new(iter::once(&secret));
        let shown = mask.apply_to_end(b"and-more, and then hunter2-and-more, at last", true);
        assert_eq!(shown, "en ***, at last");
        assert_eq!(mask.apply_to_end(b"and-more", false), "and-more");
    }
}
