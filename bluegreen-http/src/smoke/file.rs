use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bluegreen_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::smoke::SmokeTest;
use crate::smoke::builder::{SecretFrom, SmokeTestBuilder};
use crate::smoke::step::Step;

/// A smoke test as a file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    url: Option<String>,
    endpoint: Option<String>,
    host_header: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    #[serde(default)]
    secrets: BTreeMap<String, FromEnvironment>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromEnvironment {
    env: String,
}

impl SmokeTest {
    /// [`SmokeTestBuilder::from_file`], with nothing added.
    ///
    /// # Errors
    /// Those of [`SmokeTestBuilder::from_file`] and [`SmokeTestBuilder::build`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        SmokeTestBuilder::from_file(path)?.build()
    }
}

impl SmokeTestBuilder {
    /// Loads a smoke test from a TOML file. Secrets, variables and how the instance is reached can be added.
    ///
    /// # Errors
    /// `NotFound` and the like when the file cannot be read; `Config`, naming the place, when it cannot be understood.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::from(error).not_applied());
        text.and_then(|text| Self::from_toml(&text))
            .map_err(|error| error.with_operation("load a smoke test").with("file", path.display()))
    }

    /// Loads a smoke test from TOML. It has no null: a step whose JSON holds one is written in Rust.
    ///
    /// # Errors
    /// `Config`, naming line, column and field, when it cannot be understood or has a field that nobody knows.
    pub fn from_toml(text: &str) -> Result<Self> {
        let at = |error: &toml::de::Error| error.span().map(|span| line_and_column(text, span.start));
        let deserializer = toml::Deserializer::parse(text).map_err(|error| wrong(error.message(), at(&error), None))?;
        let document: Document = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let (field, error) = (error.path().to_string(), error.into_inner());
            wrong(error.message(), at(&error), Some(field))
        })?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| wrong(error.message(), at(&error), None))?;
        match table.iter().find_map(|(key, value)| field_with_a_date(key, value)) {
            // JSON has none, and a request or an answer is compared as JSON.
            Some(field) => Err(wrong("a date is not a JSON value; write it as a text", None, Some(field))),
            None => Ok(document.into_builder()),
        }
    }
}

impl Document {
    fn into_builder(self) -> SmokeTestBuilder {
        let mut builder = SmokeTestBuilder::new(self.name);
        builder.reach.url = self.url;
        builder.reach.endpoint = self.endpoint;
        builder.reach.host_header = self.host_header;
        if let Some(timeout) = self.timeout_ms {
            builder.reach.timeout = Duration::from_millis(timeout);
        }
        builder.headers = self.headers;
        builder.variables = self.variables;
        let secrets = self.secrets.into_iter();
        builder.secrets = secrets.map(|(name, from)| (name, SecretFrom::Environment(from.env))).collect();
        builder.steps = self.steps;
        builder
    }
}

fn field_with_a_date(path: &str, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Datetime(_) => Some(path.to_owned()),
        toml::Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| field_with_a_date(&format!("{path}[{index}]"), item))
        }
        toml::Value::Table(fields) => {
            fields.iter().find_map(|(key, value)| field_with_a_date(&format!("{path}.{key}"), value))
        }
        _ => None,
    }
}

fn wrong(message: &str, place: Option<(usize, usize)>, field: Option<String>) -> Error {
    let mut error = Error::config(format!("the smoke test cannot be understood: {message}"));
    if let Some((line, column)) = place {
        error = error.with("line", line).with("column", column);
    }
    match field {
        Some(field) if field != "." => error.with("field", field),
        _ => error,
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
