/// Quotes one word for nginx's configuration, so that nginx reads exactly this word.
///
/// Only for words without `$` and control characters: nginx can quote neither, and the checks refuse both.
pub(super) fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_or_a_backslash_cannot_end_the_word() {
        assert_eq!(quoted(r#"a"; return 200; "#), r#""a\"; return 200; ""#);
        assert_eq!(quoted(r"\"), r#""\\""#);
        assert_eq!(quoted(r#"\""#), r#""\\\"""#);
        assert_eq!(quoted(""), r#""""#);
    }
}
