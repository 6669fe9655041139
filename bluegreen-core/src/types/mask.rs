use std::borrow::Cow;
use std::fmt;

use crate::types::Secret;

/// What stands in the place of a secret.
const MASKED: &str = "***";

/// Hides secrets in text from outside, such as an answer or the output of a program: each is replaced by `***`.
///
/// A form is hidden as it is written. Whoever knows how a text encodes a secret adds those forms too.
///
/// ```
/// use bluegreen_core::Mask;
///
/// let mut mask = Mask::default();
/// mask.add("hunter2");
/// assert_eq!(mask.apply("password=hunter2"), "password=***");
/// ```
#[derive(Clone, Default)]
pub struct Mask(Vec<Secret>);

impl Mask {
    /// Adds a form of a secret. An empty one hides nothing.
    pub fn add(&mut self, form: &str) {
        if !form.is_empty() && !self.0.iter().any(|have| have.reveal() == form) {
            self.0.push(Secret::new(form));
        }
    }

    /// The text with every secret replaced, also where secrets overlap.
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replace(text, false)
    }

    /// The same for a text whose end was cut off: the beginning of a secret at its end is hidden too.
    pub fn apply_to_cut<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replace(text, true)
    }

    /// The same for the end of a longer text: as much of its beginning is left out as could be the end of a secret.
    pub fn apply_to_end(&self, text: &str) -> String {
        let longest = self.0.iter().map(|secret| secret.reveal().len()).max().unwrap_or(0);
        self.apply(text).chars().skip(longest).collect()
    }

    fn replace<'t>(&self, text: &'t str, cut: bool) -> Cow<'t, str> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut hidden_until = 0;
        for (at, c) in text.char_indices() {
            let rest = &text[at..];
            let end = self.0.iter().filter_map(|secret| {
                let secret = secret.reveal();
                let found = rest.starts_with(secret) || (cut && secret.starts_with(rest));
                found.then_some(at + secret.len().min(rest.len()))
            });
            if let Some(end) = end.max() {
                if at >= hidden_until {
                    masked.push_str(MASKED);
                }
                hidden_until = hidden_until.max(end);
            }
            if at >= hidden_until {
                masked.push(c);
            }
        }
        Cow::Owned(masked)
    }
}

/// Shows no secret.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let mut mask = Mask::default();
        secrets.iter().for_each(|secret| mask.add(secret));
        mask
    }

    #[test]
    fn overlapping_secrets_leave_nothing_of_either() {
        assert_eq!(mask(&["abc", "bcd"]).apply("xabcdx"), "x***x");
        assert_eq!(mask(&["aa"]).apply("aaa"), "***");
        assert_eq!(mask(&["ab", "abcd"]).apply("abcdab"), "******");
    }

    #[test]
    fn an_empty_secret_hides_nothing() {
        assert_eq!(mask(&[""]).apply("text"), "text");
    }

    #[test]
    fn what_is_left_of_a_secret_at_either_cut_is_hidden() {
        assert_eq!(mask(&["t0ken"]).apply_to_cut("x=t0k"), "x=***");
        assert_eq!(mask(&["t0ken"]).apply("x=t0k"), "x=t0k");
        assert_eq!(
            mask(&["hunter2-and-more"]).apply_to_end("and-more, and then hunter2-and-more, at last"),
            "en ***, at last"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", mask(&["hunter2"])), "Mask(1 forms)");
    }

    proptest::proptest! {
        #[test]
        fn no_secret_survives(secrets in proptest::collection::vec("[ab{]{1,4}", 1..4), text in "[ab{c]{0,40}") {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let masked = mask(&secrets).apply(&text).replace(MASKED, "\u{0}");
            for secret in secrets {
                proptest::prop_assert!(!masked.contains(secret), "{:?} in {:?}", secret, masked);
            }
        }
    }
}
