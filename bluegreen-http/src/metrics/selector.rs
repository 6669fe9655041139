use std::fmt;

use bluegreen_core::{Error, Result};
use regex::Regex;

use crate::metrics::cursor::Cursor;
use crate::metrics::exposition::{Labels, Line};

/// Which lines of a page are meant, in PromQL's own words: `http_requests_total{handler!="/metrics",method=~"GET|POST"}`.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub(crate) name: String,
    matchers: Matchers,
}

/// What labels must be: `status=~"5.."`. As in PromQL, a label that is absent counts as empty, and a regular
/// expression must match all of the value.
#[derive(Debug, Clone)]
pub(crate) struct Matchers(Vec<Matcher>);

#[derive(Debug, Clone)]
struct Matcher {
    label: String,
    rule: Rule,
    text: String,
}

#[derive(Debug, Clone)]
enum Rule {
    Is,
    IsNot,
    Matches(Regex),
    MatchesNot(Regex),
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let mut cursor = Cursor::new(trimmed);
        let name = cursor.name().to_owned();
        cursor.blanks();
        let matchers = match cursor.rest() {
            "" => Matchers(Vec::new()),
            rest => match rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(inner) => Matchers::parse(inner)?,
                None => return Err(refused(text, "after the name comes {..} or nothing")),
            },
        };
        if name.is_empty() {
            return Err(refused(text, "it does not begin with the name of a metric"));
        }
        Ok(Self { name, matchers })
    }

    pub(crate) fn matches(&self, line: &Line) -> bool {
        line.name == self.name && self.selects(&line.labels)
    }

    /// Whether the labels are meant, whatever the name.
    pub(crate) fn selects(&self, labels: &Labels) -> bool {
        self.matchers.select(labels)
    }
}

impl Matchers {
    /// Reads `a="b",c!="d",e=~"f",g!~"h"`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut cursor = Cursor::new(text.trim());
        let mut matchers = Vec::new();
        while !cursor.rest().is_empty() {
            matchers.push(matcher(&mut cursor).map_err(|why| refused(text, &why))?);
            cursor.blanks();
            if !cursor.eat(",") && !cursor.rest().is_empty() {
                return Err(refused(text, "matchers are separated by commas"));
            }
            cursor.blanks();
        }
        Ok(Self(matchers))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn select(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.accepts(labels.get(&matcher.label).map_or("", String::as_str)))
    }

    /// The labels without which nothing can match.
    pub(crate) fn required(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|matcher| !matcher.accepts("")).map(|matcher| matcher.label.as_str())
    }
}

impl Matcher {
    fn accepts(&self, value: &str) -> bool {
        match &self.rule {
            Rule::Is => value == self.text,
            Rule::IsNot => value != self.text,
            Rule::Matches(regex) => regex.is_match(value),
            Rule::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

fn matcher(cursor: &mut Cursor<'_>) -> Result<Matcher, String> {
    let label = cursor.name().to_owned();
    if label.is_empty() {
        return Err("a matcher begins with the name of a label".to_owned());
    }
    cursor.blanks();
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| cursor.eat(operator));
    cursor.blanks();
    let text = cursor.quoted().ok_or_else(|| format!("the value of {label} is not in double quotes"))??;
    let regex =
        || Regex::new(&format!("^(?s:{text})$")).map_err(|error| format!("{text:?} is no regular expression: {error}"));
    let rule = match operator {
        Some("=~") => Rule::Matches(regex()?),
        Some("!~") => Rule::MatchesNot(regex()?),
        Some("!=") => Rule::IsNot,
        Some(_) => Rule::Is,
        None => return Err(format!("after {label} comes one of =, !=, =~, !~")),
    };
    Ok(Matcher { label, rule, text })
}

fn refused(text: &str, why: &str) -> Error {
    Error::config(format!("{text:?} selects nothing: {why}")).with_hint("write http_requests_total{status=~\"5..\"}")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.matchers.is_empty() { Ok(()) } else { write!(f, "{{{}}}", self.matchers) }
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.0.iter().map(|matcher| {
            let operator = match matcher.rule {
                Rule::Is => "=",
                Rule::IsNot => "!=",
                Rule::Matches(_) => "=~",
                Rule::MatchesNot(_) => "!~",
            };
            format!("{}{operator}{:?}", matcher.label, matcher.text)
        });
        f.write_str(&texts.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn matchers_select_as_in_promql() {
        let get_500 = labels(&[("method", "GET"), ("status", "500")]);
        for (text, expected) in [
            ("", true),
            ("status=\"500\"", true),
            ("status=~\"5..\"", true),
            ("status=~\"5\"", false),
            ("status=~\"2..|5..\"", true),
            ("status!~\"5..\"", false),
            ("status!=\"200\" , method=\"GET\",", true),
            ("status=\"500\",method=\"POST\"", false),
            ("absent=\"\"", true),
            ("absent!=\"\"", false),
            ("absent=~\".*\"", true),
            ("absent=~\".+\"", false),
        ] {
            assert_eq!(Matchers::parse(text).unwrap().select(&get_500), expected, "{text}");
        }
    }

    #[test]
    fn a_selector_is_a_name_and_matchers() {
        let selector = Selector::parse(" http_requests_total { path=\"/a{b},c=\\\"d\\\"\" } ").unwrap();
        assert!(selector.selects(&labels(&[("path", "/a{b},c=\"d\"")])));
        assert_eq!(selector.to_string(), r#"http_requests_total{path="/a{b},c=\"d\""}"#);
        assert_eq!(Selector::parse("up").unwrap().to_string(), "up");
        for bad in [
            "",
            "{a=\"b\"}",
            "a b",
            "a{",
            "a{b}",
            "a{b=c}",
            "a{b='c'}",
            "a{b=\"c\"}x",
            "a{b=~\"(\"}",
            "a{b=\"\\d\"}",
            "sum(a)",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_is_required_unless_its_matcher_accepts_nothing() {
        let matchers = Matchers::parse("a=\"1\",b!=\"1\",c=~\"x?\",d=~\"x\",e=\"\"").unwrap();
        assert_eq!(matchers.required().collect::<Vec<_>>(), ["a", "d"]);
    }
}
