use bluegreen_core::{Error, Result, Target};

/// A PromQL query with variables: `sum(requests_total{slot="{{slot}}"})`.
///
/// A variable stands inside a quoted text and is written there so that it can mean nothing but itself, also where the
/// text is a regular expression (after `=~` or `!~`).
#[derive(Debug, Clone)]
pub(crate) struct Query(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Variable { which: Which, quote: char, regex: bool },
    Tag(Which),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Slot,
    Version,
    Service,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::config("an empty query"));
        }
        let refused = |why: &str| Error::config(format!("{why} in the query {text:?}"));
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        // The quote that is open, and whether what it holds is a regular expression.
        let mut open: Option<(char, bool)> = None;
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{") {
                let (name, after) = after.split_once("}}").ok_or_else(|| refused("{{ without }}"))?;
                let which = Which::named(name.trim()).ok_or_else(|| {
                    refused(&format!("unknown variable {name:?}")).with_hint("there are slot, version and service")
                })?;
                let (quote, regex) = open.ok_or_else(|| {
                    refused(&format!("{{{{{name}}}}} stands outside of quotes"))
                        .with_hint(format!("write label=\"{{{{{name}}}}}\""))
                })?;
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Variable { which, quote, regex });
                rest = after;
                continue;
            }
            let mut taken = c.len_utf8();
            match (open, c) {
                (None, '"' | '\'' | '`') => {
                    let before = plain.trim_end();
                    open = Some((c, before.ends_with("=~") || before.ends_with("!~")));
                }
                (None, '#') => taken = rest.find('\n').unwrap_or(rest.len()),
                (Some((quote, _)), c) if c == quote => open = None,
                // What follows a backslash closes nothing, except in backquotes, which know no escapes.
                (Some((quote, _)), '\\') if quote != '`' => {
                    taken += rest[1..].chars().next().map_or(0, char::len_utf8);
                }
                _ => {}
            }
            plain.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        if open.is_some() {
            return Err(refused("a quote is not closed"));
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// A query of Datadog, in which variables are the values of tags and stand in no quotes.
    pub(crate) fn of_tags(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::config("an empty query"));
        }
        let refused = |why: String| {
            Error::config(format!("{why} in the query {text:?}")).with_hint("there are slot, version and service")
        };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((plain, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| refused("{{ without }}".to_owned()))?;
            let which = Which::named(name.trim()).ok_or_else(|| refused(format!("unknown variable {name:?}")))?;
            parts.extend([Part::Text(plain.to_owned()), Part::Tag(which)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    pub(crate) fn render(&self, target: &Target) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable { which, quote, regex } => quoted(which.of(target), *quote, *regex),
            // Datadog writes tags so. Names hold nothing that could end one.
            Part::Tag(which) => which.of(target).to_lowercase().replace('+', "_"),
        });
        parts.collect()
    }
}

impl Which {
    fn named(name: &str) -> Option<Self> {
        match name {
            "slot" => Some(Self::Slot),
            "version" => Some(Self::Version),
            "service" => Some(Self::Service),
            _ => None,
        }
    }

    fn of(self, target: &Target) -> &str {
        match self {
            Self::Slot => target.slot.as_str(),
            Self::Version => target.version().as_str(),
            Self::Service => target.service.as_str(),
        }
    }
}

/// A value as it stands between two of these quotes. Names cannot hold a quote or a backslash (see
/// [`bluegreen_core::Version`]); what is to be escaped comes from making it a regular expression.
fn quoted(value: &str, quote: char, regex: bool) -> String {
    let value = if regex { regex::escape(value) } else { value.to_owned() };
    if quote == '`' { value } else { value.replace('\\', "\\\\").replace(quote, &format!("\\{quote}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bluegreen_core::{OperationId, Release, ServiceName, Slot};

    fn render(text: &str) -> Result<String> {
        let target = Target::new(
            ServiceName::new("shop").unwrap(),
            Slot::Green,
            Release::new("1.2+3").unwrap(),
            OperationId::new("test").unwrap(),
        );
        Ok(Query::parse(text)?.render(&target))
    }

    #[test]
    fn variables_mean_themselves_in_every_kind_of_quote() {
        for (text, expected) in [
            ("a{b=\"{{version}}\"}", "a{b=\"1.2+3\"}"),
            ("a{b='{{ slot }}-{{service}}'}", "a{b='green-shop'}"),
            ("a{b=~\"{{version}}\"}", "a{b=~\"1\\\\.2\\\\+3\"}"),
            ("a{b !~ '{{version}}|x'}", "a{b !~ '1\\\\.2\\\\+3|x'}"),
            ("a{b=~`{{version}}`}", "a{b=~`1\\.2\\+3`}"),
            ("a{b=\"\\\"{{slot}}\"}", "a{b=\"\\\"green\"}"),
            ("a{b=~\"x\",c=\"{{version}}\"}", "a{b=~\"x\",c=\"1.2+3\"}"),
            ("a{b=`\\`,c=\"{{slot}}\"} # it's {a} comment", "a{b=`\\`,c=\"green\"} # it's {a} comment"),
            ("a # \"\n{b=\"{{slot}}\"}", "a # \"\n{b=\"green\"}"),
            ("sum(rate(a[5m]))", "sum(rate(a[5m]))"),
        ] {
            assert_eq!(render(text).unwrap(), expected);
        }
    }

    #[test]
    fn in_a_query_of_tags_variables_are_written_as_tags() {
        let target = Target::new(
            ServiceName::new("Shop").unwrap(),
            Slot::Green,
            Release::new("1.2+RC3").unwrap(),
            OperationId::new("test").unwrap(),
        );
        let query = Query::of_tags("sum:hits{service:{{service}},version:{{ version }},slot:{{slot}}}.as_count()");
        let expected = "sum:hits{service:shop,version:1.2_rc3,slot:green}.as_count()";
        assert_eq!(query.unwrap().render(&target), expected);
        for bad in ["", "sum:hits{slot:{{slot}", "sum:hits{slot:{{host}}}"] {
            assert!(Query::of_tags(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_that_cannot_be_meant_is_refused() {
        for bad in ["", " ", "a{b={{slot}}}", "a{{slot}}", "a{b=\"{{x}}\"}", "a{b=\"{{slot\"}", "a{b=\"x}", "a{b=\"\\"]
        {
            assert_eq!(Query::parse(bad).unwrap_err().kind(), bluegreen_core::ErrorKind::Config, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_query_without_variables_is_sent_as_it_is(text in "([a\"'`\\\\#=~ \n{}]|\\PC){1,30}") {
            if let Ok(query) = render(&text) && !text.contains("{{") {
                proptest::prop_assert_eq!(query, text);
            }
        }
    }
}
