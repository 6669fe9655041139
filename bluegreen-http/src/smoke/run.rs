use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bluegreen_core::{Health, HealthCheck, Instance, Result, Target};

use crate::exchange::{Answer, Outcome, one_line};
use crate::reach::{Ask, Route};
use crate::smoke::SmokeTest;
use crate::smoke::step::{CompiledStep, Filled};
use crate::smoke::variables::Variables;

#[async_trait]
impl HealthCheck for SmokeTest {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        let result = self.on_all_places(target, instance).await;
        result.map_err(|error| error.with_operation(self.to_string()))
    }

    fn tells_version(&self) -> bool {
        false
    }
}

impl SmokeTest {
    async fn on_all_places(&self, target: &Target, instance: &Instance) -> Result<Health> {
        for place in self.reach.places(instance)? {
            let route = self.reach.open(&place).await?;
            let mut variables = self.variables_for(target);
            for (index, step) in self.steps.iter().enumerate() {
                if let Err(why) = run(step, &route, &mut variables).await? {
                    let (number, count) = (index + 1, self.steps.len());
                    let reason = format!("{self}, step {number} of {count} `{}`: {why}", step.name);
                    return Ok(Health::unhealthy(reason));
                }
            }
        }
        Ok(Health::healthy())
    }

    fn variables_for(&self, target: &Target) -> Variables {
        let mut variables = Variables::default();
        let random: String = (0..10).filter_map(|_| char::from_digit(fastrand::u32(0..36), 36)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        variables.show("random", random.into());
        variables.show("timestamp", now.as_secs().into());
        variables.show("version", target.version().as_str().into());
        variables.show("slot", target.slot.as_str().into());
        for (name, value) in &self.variables {
            variables.show(name, value.clone());
        }
        for (name, secret) in &self.secrets {
            variables.hide(name, secret.reveal().into());
        }
        variables
    }
}

/// Runs one step; the inner `Err` says what was asked and what was wrong with the answer.
async fn run(step: &CompiledStep, route: &Route<'_>, variables: &mut Variables) -> Result<Result<(), String>> {
    let filled = match step.fill(variables) {
        Ok(filled) => filled,
        Err(error) => {
            let why = variables.mask().apply(&error.to_string()).into_owned();
            return Ok(Err(format!("the request cannot be made: {why}")));
        }
    };
    let Filled { path, headers, body } = filled;
    let ask = Ask {
        method: step.method.clone(),
        path: Some(&path),
        headers,
        body: body.clone().map(String::into_bytes),
        timeout: step.timeout,
    };
    let judged = match route.ask(ask).await? {
        Outcome::Answered(answer) => accept(step, &answer, variables),
        Outcome::Silent(silence) => Err(silence.text),
    };
    Ok(judged.map_err(|why| {
        let mask = variables.mask();
        let url = route.url(Some(&path));
        let sent = body.map(|body| format!(" with `{}`", one_line(&mask.apply(&body)))).unwrap_or_default();
        format!("{} {}{}{sent}: {why}", step.method, mask.apply(url.as_str()), route.through())
    }))
}

fn accept(step: &CompiledStep, answer: &Answer, variables: &mut Variables) -> Result<(), String> {
    step.expect.judge(answer, variables)?;
    for (name, capture) in &step.captures {
        let value = capture
            .take(answer, variables.mask())
            .map_err(|why| format!("{name} cannot be captured from {}: {why}", capture.describe()))?;
        if capture.shown {
            variables.show(name, value);
        } else {
            variables.hide(name, value);
        }
    }
    Ok(())
}

impl fmt::Display for SmokeTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smoke test {}", self.name)
    }
}
