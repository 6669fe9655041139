use bluegreen_core::{Error, Mask, Result};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::exchange::{Answer, one_line};
use crate::headers::header_name;
use crate::pointer::{Pointer, as_text};

/// What a step keeps of its answer, as a variable for the steps after it.
///
/// ```
/// use bluegreen_http::Capture;
///
/// Capture::json("/token");                                    // by JSON pointer
/// Capture::header("location").matching("/orders/([0-9]+)");   // by header, and of that a part
/// Capture::body("name=\"csrf\" value=\"([^\"]+)\"");          // by regular expression
/// Capture::json("/order/id").shown();                         // may appear in a failure's text
/// ```
///
/// The first group of a regular expression counts, or all of the match when there is no group. A value that was
/// captured is masked in what a failure shows, unless it is [`shown`](Self::shown): most are tokens and cookies. What
/// is missing, null or empty fails the step.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    json: Option<String>,
    header: Option<String>,
    regex: Option<String>,
    #[serde(default)]
    shown: bool,
}

/// A capture that is validated.
#[derive(Debug, Clone)]
pub(crate) struct CompiledCapture {
    from: From,
    regex: Option<Regex>,
    pub(crate) shown: bool,
}

#[derive(Debug, Clone)]
enum From {
    Json(Pointer),
    Header(String),
    Body,
}

impl Capture {
    /// The value at a JSON pointer (RFC 6901); a number stays a number.
    pub fn json(pointer: impl Into<String>) -> Self {
        Self { json: Some(pointer.into()), ..Self::default() }
    }

    /// The value of a header; of several, the first one (that matches).
    pub fn header(name: impl Into<String>) -> Self {
        Self { header: Some(name.into()), ..Self::default() }
    }

    /// What a regular expression finds in the body.
    pub fn body(regex: impl Into<String>) -> Self {
        Self { regex: Some(regex.into()), ..Self::default() }
    }

    /// Of the JSON value or the header, what this regular expression finds.
    #[must_use]
    pub fn matching(mut self, regex: impl Into<String>) -> Self {
        self.regex = Some(regex.into());
        self
    }

    /// Says that the value is no secret: a failure may show it.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    pub(crate) fn compile(&self) -> Result<CompiledCapture> {
        let from = match (&self.json, &self.header, &self.regex) {
            (Some(pointer), None, _) => From::Json(Pointer::new(pointer)?),
            (None, Some(name), _) => From::Header(header_name(name)?.to_string()),
            (None, None, Some(_)) => From::Body,
            (None, None, None) => return Err(Error::config("a capture needs one of json, header or regex")),
            (Some(_), Some(_), _) => {
                return Err(Error::config("a capture is from json or from a header, not from both"));
            }
        };
        let regex = self.regex.as_deref().map(|regex| {
            Regex::new(regex).map_err(|error| Error::config("the regular expression is not valid").with_source(error))
        });
        Ok(CompiledCapture { from, regex: regex.transpose()?, shown: self.shown })
    }
}

impl CompiledCapture {
    /// The value, or why there is none.
    pub(crate) fn take(&self, answer: &Answer, mask: &Mask) -> Result<Value, String> {
        let missing = |what: String| Err(format!("{what}, got {}", answer.describe(mask)));
        let found = match &self.from {
            From::Json(pointer) => {
                let body = match answer.json() {
                    Ok(body) => body,
                    Err(why) => return missing(why),
                };
                match (pointer.find(&body), &self.regex) {
                    (None | Some(Value::Null), _) => return missing(format!("there is nothing at {pointer}")),
                    (Some(value), None) => value.clone(),
                    (Some(value), Some(regex)) => match first(regex, &as_text(value)) {
                        Some(part) => part,
                        None => return missing(format!("the value at {pointer} does not match {regex}")),
                    },
                }
            }
            From::Header(name) => {
                let mut values = answer.header(name);
                let (value, wanted) = match &self.regex {
                    None => (values.next().map(|value| Value::from(value.into_owned())), String::new()),
                    Some(regex) => (values.find_map(|value| first(regex, &value)), format!(" that matches {regex}")),
                };
                match value {
                    Some(value) => value,
                    None => return missing(format!("there is no header {name}{wanted}")),
                }
            }
            From::Body => match self.regex.as_ref().and_then(|regex| first(regex, &answer.text())) {
                Some(value) => value,
                None => return missing("the body does not match".to_owned()),
            },
        };
        if found == "" { missing("what is found is empty".to_owned()) } else { Ok(found) }
    }

    /// What the capture is from, for a failure.
    pub(crate) fn describe(&self) -> String {
        let from = match &self.from {
            From::Json(pointer) => pointer.to_string(),
            From::Header(name) => format!("header {name}"),
            From::Body => "the body".to_owned(),
        };
        match &self.regex {
            Some(regex) => format!("{from} by {}", one_line(regex.as_str())),
            None => from,
        }
    }
}

fn first(regex: &Regex, text: &str) -> Option<Value> {
    let captures = regex.captures(text)?;
    captures.get(1).or_else(|| captures.get(0)).map(|found| Value::from(found.as_str()))
}
