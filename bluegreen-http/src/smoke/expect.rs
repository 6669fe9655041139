use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::exchange::{Answer, one_line, shown};
use crate::headers::header_name;
use crate::pointer::{Pointer, same};
use crate::smoke::template::{JsonTemplate, Template};
use crate::smoke::variables::Variables;
use crate::statuses::Statuses;

/// What a step expects of its answer, as it was given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub(crate) status: Statuses,
    pub(crate) body_contains: Vec<String>,
    pub(crate) body_lacks: Vec<String>,
    pub(crate) json: BTreeMap<String, Value>,
    pub(crate) json_exists: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) headers_contain: BTreeMap<String, String>,
    pub(crate) headers_exist: Vec<String>,
    pub(crate) within_ms: Option<u64>,
}

/// The same, validated.
#[derive(Debug, Clone)]
pub(crate) struct CompiledExpect {
    status: Statuses,
    contains: Vec<Template>,
    lacks: Vec<Template>,
    json: Vec<(Pointer, JsonTemplate)>,
    json_exists: Vec<Pointer>,
    headers: Vec<(String, HeaderRule)>,
    within: Option<Duration>,
}

#[derive(Debug, Clone)]
enum HeaderRule {
    Exists,
    Is(Template),
    Contains(Template),
}

impl Expect {
    pub(crate) fn compile(&self) -> Result<CompiledExpect> {
        let mut headers = Vec::new();
        for name in &self.headers_exist {
            headers.push((header_name(name)?.to_string(), HeaderRule::Exists));
        }
        for (name, value) in &self.headers {
            headers.push((header_name(name)?.to_string(), HeaderRule::Is(Template::parse(value)?)));
        }
        for (name, value) in &self.headers_contain {
            headers.push((header_name(name)?.to_string(), HeaderRule::Contains(some_text(value)?)));
        }
        let json = self.json.iter().map(|(pointer, value)| Ok((Pointer::new(pointer)?, JsonTemplate::parse(value)?)));
        Ok(CompiledExpect {
            status: self.status.clone().validated()?,
            contains: self.body_contains.iter().map(|text| some_text(text)).collect::<Result<_>>()?,
            lacks: self.body_lacks.iter().map(|text| some_text(text)).collect::<Result<_>>()?,
            json: json.collect::<Result<_>>()?,
            json_exists: self.json_exists.iter().map(Pointer::new).collect::<Result<_>>()?,
            headers,
            within: self.within_ms.map(Duration::from_millis),
        })
    }
}

impl CompiledExpect {
    pub(crate) fn variables(&self) -> Vec<&str> {
        let headers = self.headers.iter().filter_map(|(_, rule)| match rule {
            HeaderRule::Exists => None,
            HeaderRule::Is(template) | HeaderRule::Contains(template) => Some(template),
        });
        let texts = self.contains.iter().chain(&self.lacks).chain(headers).flat_map(Template::variables);
        texts.chain(self.json.iter().flat_map(|(_, value)| value.variables())).collect()
    }

    /// The first thing that is not as expected.
    pub(crate) fn judge(&self, answer: &Answer, variables: &Variables) -> Result<(), String> {
        let mask = variables.mask();
        let got = || format!("got {}", answer.describe(mask));
        if !self.status.contains(answer.status.as_u16()) {
            return Err(format!("expected status {}, {}", self.status, got()));
        }
        for (name, rule) in &self.headers {
            rule.judge(name, answer, variables).map_err(|why| format!("{why}, {}", got()))?;
        }
        for template in &self.contains {
            let text = template.render(variables);
            if !answer.text().contains(&text) {
                return Err(format!("expected `{}` in the body, {}", one_line(&mask.apply(&text)), got()));
            }
        }
        for template in &self.lacks {
            let text = template.render(variables);
            if answer.text().contains(&text) {
                return Err(format!("expected no `{}` in the body, {}", one_line(&mask.apply(&text)), got()));
            }
            if answer.unreadable.is_some() {
                return Err(format!("the body was not decoded, {}", got()));
            }
            if !answer.complete {
                return Err(format!("the body is longer than the {} bytes that are read", answer.body.len()));
            }
        }
        if !self.json.is_empty() || !self.json_exists.is_empty() {
            let body = answer.json().map_err(|why| format!("{why}, {}", got()))?;
            for pointer in &self.json_exists {
                if pointer.find(&body).is_none() {
                    return Err(format!("expected something at {pointer}, {}", got()));
                }
            }
            for (pointer, template) in &self.json {
                let expected = template.render(variables);
                if !pointer.find(&body).is_some_and(|found| same(found, &expected)) {
                    let shown = expected.to_string();
                    return Err(format!("expected {} at {pointer}, {}", one_line(&mask.apply(&shown)), got()));
                }
            }
        }
        match self.within {
            Some(limit) if answer.took > limit => {
                Err(format!("took {}, and {} are allowed, {}", shown(answer.took), shown(limit), got()))
            }
            _ => Ok(()),
        }
    }
}

impl HeaderRule {
    fn judge(&self, name: &str, answer: &Answer, variables: &Variables) -> Result<(), String> {
        let (wanted, relation) = match self {
            Self::Exists if answer.header(name).next().is_some() => return Ok(()),
            Self::Exists => return Err(format!("expected a header {name}")),
            Self::Is(template) => (template.render(variables), ""),
            Self::Contains(template) => (template.render(variables), "something with "),
        };
        let fits = |value: &str| match self {
            Self::Contains(_) => value.contains(&wanted),
            _ => value == wanted,
        };
        let values: Vec<_> = answer.header(name).collect();
        if values.iter().any(|value| fits(value)) {
            return Ok(());
        }
        let masked = |text: &str| one_line(&variables.mask().apply(text));
        let found = match values.as_slice() {
            [] => "which is missing".to_owned(),
            values => format!("which is `{}`", masked(&values.join(", "))),
        };
        Err(format!("expected {relation}`{}` in header {name}, {found}", masked(&wanted)))
    }
}

fn some_text(text: &str) -> Result<Template> {
    let template = Template::parse(text)?;
    if template.is_empty() {
        return Err(Error::config("the empty text is contained everywhere, so it says nothing"));
    }
    Ok(template)
}
