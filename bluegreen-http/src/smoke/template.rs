use std::borrow::Cow;

use bluegreen_core::{Error, Result};
use serde_json::{Map, Value};

use crate::smoke::variables::Variables;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Text with variables: `Bearer {{token}}`. A `{{` that is meant as such is written `{{{{`.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            parts.push(Part::Text(before.to_owned()));
            if let Some(after) = after.strip_prefix(OPEN) {
                parts.push(Part::Text(OPEN.to_owned()));
                rest = after;
                continue;
            }
            let (name, after) = after.split_once(CLOSE).ok_or_else(|| {
                Error::config(format!("{OPEN} without {CLOSE} in {text:?}")).with_hint("a literal {{ is written {{{{")
            })?;
            parts.push(Part::Variable(checked_name(name.trim())?.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The variable's name, if the template is one variable and nothing else.
    pub(crate) fn sole_variable(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Variable(name)] => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn render(&self, variables: &Variables) -> String {
        self.render_with(|name| variables.text(name).into_owned())
    }

    pub(crate) fn render_with(&self, value: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => Cow::Borrowed(text.as_str()),
            Part::Variable(name) => Cow::Owned(value(name)),
        });
        parts.collect()
    }
}

/// A JSON value whose texts (not its keys) are templates. A text that is one variable and nothing else becomes the
/// variable's value with its type: a captured number stays a number.
#[derive(Debug, Clone)]
pub(crate) enum JsonTemplate {
    Text(Template),
    Array(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
    Other(Value),
}

impl JsonTemplate {
    pub(crate) fn parse(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(text)?),
            Value::Array(items) => Self::Array(items.iter().map(Self::parse).collect::<Result<_>>()?),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| Ok((key.clone(), Self::parse(value)?)));
                Self::Object(fields.collect::<Result<_>>()?)
            }
            other => Self::Other(other.clone()),
        })
    }

    pub(crate) fn variables(&self) -> Vec<&str> {
        match self {
            Self::Text(template) => template.variables().collect(),
            Self::Array(items) => items.iter().flat_map(Self::variables).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.variables()).collect(),
            Self::Other(_) => Vec::new(),
        }
    }

    pub(crate) fn render(&self, variables: &Variables) -> Value {
        match self {
            Self::Text(template) => match template.sole_variable().and_then(|name| variables.get(name)) {
                Some(value) => value.clone(),
                None => Value::String(template.render(variables)),
            },
            Self::Array(items) => items.iter().map(|item| item.render(variables)).collect(),
            Self::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.clone(), value.render(variables)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Self::Other(value) => value.clone(),
        }
    }
}

/// The name of a variable: letters, digits and `_`, not beginning with a digit.
pub(crate) fn checked_name(name: &str) -> Result<&str> {
    let well_formed = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !well_formed || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::config(format!("{name:?} is not the name of a variable: letters, digits and _ only")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        variables.show("a", json!("x\"y"));
        variables.show("n", json!(42));
        variables
    }

    #[test]
    fn variables_are_replaced_and_braces_can_be_meant() {
        for (text, expected) in [
            ("", ""),
            ("plain }} text", "plain }} text"),
            ("{{a}}{{ n }}!", "x\"y42!"),
            ("{{{{a}}", "{{a}}"),
            ("{{{{{{n}}", "{{42"),
            ("{ {a} }", "{ {a} }"),
        ] {
            assert_eq!(Template::parse(text).unwrap().render(&variables()), expected, "{text}");
        }
        for bad in ["{{", "{{a", "{{a}", "{{}}", "{{a b}}", "{{1a}}", "{{a-b}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_json_and_keeps_its_type_when_it_stands_alone() {
        let body = json!({"text": "<{{a}}>", "number": "{{n}}", "mixed": "n={{n}}", "list": ["{{a}}", 1, null]});
        let rendered = JsonTemplate::parse(&body).unwrap().render(&variables());
        let expected = json!({"text": "<x\"y>", "number": 42, "mixed": "n=42", "list": ["x\"y", 1, null]});
        assert_eq!(rendered, expected);
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_text_without_braces_stays(text in "\\PC{0,30}") {
            let parsed = Template::parse(&text);
            if !text.contains(OPEN) {
                proptest::prop_assert_eq!(parsed.unwrap().render(&variables()), text);
            }
        }

        #[test]
        fn a_text_with_its_braces_doubled_renders_as_it_was(text in "[a{} ]{0,30}") {
            let doubled = text.replace(OPEN, "{{{{");
            proptest::prop_assert_eq!(Template::parse(&doubled).unwrap().render(&variables()), text);
        }
    }
}
