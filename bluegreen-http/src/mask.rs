use std::borrow::Cow;

use bluegreen_core::Secret;

use crate::escape::url_component;

/// What stands in the place of a secret.
pub(crate) const MASKED: &str = "***";

/// Hides secrets in text from outside: as they are, as a URL carries them, and as JSON writes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask(Vec<Secret>);

impl Mask {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut mask = Self::default();
        for secret in secrets {
            mask.add(secret.reveal());
        }
        mask
    }

    pub(crate) fn add(&mut self, secret: &str) {
        let json = serde_json::Value::from(secret).to_string();
        let in_json = &json[1..json.len() - 1];
        for form in [secret, &url_component(secret), in_json] {
            if !form.is_empty() && !self.0.iter().any(|have| have.reveal() == form) {
                self.0.push(Secret::new(form));
            }
        }
    }

    /// The text with every secret replaced, also where secrets overlap.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replace(text, false)
    }

    /// The same for a text that was cut off: the beginning of a secret at its end is hidden too.
    pub(crate) fn apply_to_cut<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.replace(text, true)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let mut mask = Mask::default();
        secrets.iter().for_each(|secret| mask.add(secret));
        mask
    }

    #[test]
    fn secrets_are_hidden_raw_in_urls_and_in_json() {
        let mask = mask(&["p\"a s/s"]);
        assert_eq!(mask.apply("p\"a s/s"), MASKED);
        assert_eq!(mask.apply("/x?y=p%22a%20s%2Fs&z"), "/x?y=***&z");
        assert_eq!(mask.apply(r#"{"k":"p\"a s/s"}"#), r#"{"k":"***"}"#);
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
    fn the_beginning_of_a_secret_at_the_cut_is_hidden() {
        assert_eq!(mask(&["t0ken"]).apply_to_cut("x=t0k"), "x=***");
        assert_eq!(mask(&["t0ken"]).apply("x=t0k"), "x=t0k");
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
