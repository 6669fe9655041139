/// Reads the small languages of Prometheus from left to right: its text pages and its selectors.
pub(crate) struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { rest: text }
    }

    pub(crate) fn rest(&self) -> &'t str {
        self.rest
    }

    pub(crate) fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes this text, if it comes next.
    pub(crate) fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes what is there up to the next blank.
    pub(crate) fn word(&mut self) -> &'t str {
        self.take(|c| c != ' ' && c != '\t')
    }

    /// Takes a name: letters, digits, `_` and `:`, not beginning with a digit. Empty when there is none.
    pub(crate) fn name(&mut self) -> &'t str {
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        self.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    }

    /// Takes a text in double quotes, with the escapes `\\`, `\"` and `\n`. `None` when none comes next.
    pub(crate) fn quoted(&mut self) -> Option<Result<String, String>> {
        self.eat("\"").then(|| self.rest_of_quoted())
    }

    fn rest_of_quoted(&mut self) -> Result<String, String> {
        let (mut text, mut chars) = (String::new(), self.rest.char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => return Err(format!("\\{other} is no escape; a backslash is written \\\\")),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err("a \" is not closed".to_owned())
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}
