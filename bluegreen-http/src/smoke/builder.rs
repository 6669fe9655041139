use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bluegreen_core::{Error, Result, Secret};
use serde_json::Value;

use crate::reach::{ReachSettings, reach_setters, timeout_setter};
use crate::smoke::SmokeTest;
use crate::smoke::step::Step;
use crate::smoke::template::checked_name;

/// How long one request of a smoke test may take: a release that has just started may still be cold.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Variables that are there always.
pub(crate) const BUILT_IN: [&str; 4] = ["random", "slot", "timestamp", "version"];

/// Makes a [`SmokeTest`].
#[derive(Debug, Clone)]
pub struct SmokeTestBuilder {
    pub(crate) name: String,
    pub(crate) reach: ReachSettings,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) secrets: BTreeMap<String, SecretFrom>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) enum SecretFrom {
    Here(Secret),
    Environment(String),
}

impl SmokeTestBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            reach: ReachSettings { timeout: STEP_TIMEOUT, ..ReachSettings::default() },
            headers: BTreeMap::new(),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    reach_setters!();

    /// Asks below this absolute URL, instead of the instance's endpoints.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.reach.url = Some(url.into());
        self
    }

    timeout_setter! {
        /// How long each request may take in all. Default: 10 s.
    }

    /// Sends this header with each request. Its value can hold variables, and so secrets.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets a variable. One of the same name in a file gives way.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets a variable that is masked in everything a failure shows. One of the same name in a file gives way.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.secrets.insert(name.into(), SecretFrom::Here(value));
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Checks the settings and makes the smoke test.
    ///
    /// # Errors
    /// `Config`, naming the step, when a part of it is not valid, when a variable is used that nothing defines by then,
    /// or when a name is defined twice.
    pub fn build(self) -> Result<SmokeTest> {
        let trying = format!("set up smoke test {}", self.name);
        self.validated().map_err(|error| error.with_operation(trying))
    }

    fn validated(self) -> Result<SmokeTest> {
        if self.steps.is_empty() {
            return Err(Error::config("a smoke test without steps tests nothing"));
        }
        let mut known: BTreeSet<String> = BUILT_IN.map(str::to_owned).into();
        for name in self.variables.keys().chain(self.secrets.keys()) {
            define(&mut known, name)?;
        }
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let here = |error: Error| error.with("step", format!("{} `{}`", index + 1, step.name));
            let compiled = step.compile(&self.headers).map_err(here)?;
            if let Some(unknown) = compiled.variables().into_iter().find(|name| !known.contains(*name)) {
                return Err(here(undefined(unknown, &known)));
            }
            for (name, _) in &compiled.captures {
                define(&mut known, name).map_err(here)?;
            }
            steps.push(compiled);
        }
        let secrets = self.secrets.into_iter().map(|(name, from)| match from {
            SecretFrom::Here(secret) => Ok((name, secret)),
            SecretFrom::Environment(variable) => match Secret::from_env(&variable) {
                Ok(secret) => Ok((name, secret)),
                Err(error) => Err(error.with("secret", name)),
            },
        });
        Ok(SmokeTest {
            name: self.name,
            reach: self.reach.build()?,
            variables: self.variables,
            secrets: secrets.collect::<Result<_>>()?,
            steps,
        })
    }
}

fn define(known: &mut BTreeSet<String>, name: &str) -> Result<()> {
    if known.insert(checked_name(name)?.to_owned()) {
        return Ok(());
    }
    let what = if BUILT_IN.contains(&name) { "is there already" } else { "is defined twice" };
    Err(Error::config(format!("the variable {name} {what}")).with_hint("give it another name"))
}

fn undefined(name: &str, known: &BTreeSet<String>) -> Error {
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    Error::config(format!("the variable {name} is not defined by then; defined are {}", known.join(", ")))
        .with_hint("a capture can be used in the steps after its own")
}
