use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::Result;
use crate::gate::{Gate, Verdict, Window};
use crate::health::{Health, HealthCheck};
use crate::types::{Instance, Target};

/// Gives the answers of a script in turn, and the last one for ever. Clones share the script.
#[derive(Debug, Clone)]
struct Script<T>(Arc<Mutex<VecDeque<T>>>);

impl<T: Clone> Script<T> {
    fn new(answers: impl IntoIterator<Item = T>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }

    fn next(&self) -> Option<T> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    }

    fn set(&self, answers: impl IntoIterator<Item = T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers.into_iter().collect();
    }
}

/// A health check that answers by a script: each answer once, the last one for ever, [`Health::healthy`] for an empty
/// script. Clones share it.
#[derive(Debug, Clone)]
pub struct ScriptedHealth(Script<Health>);

impl ScriptedHealth {
    /// Answers like this.
    pub fn new(answers: impl IntoIterator<Item = Health>) -> Self {
        Self(Script::new(answers))
    }

    /// Answers like this from now on.
    pub fn answer(&self, answers: impl IntoIterator<Item = Health>) {
        self.0.set(answers);
    }
}

impl fmt::Display for ScriptedHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted health check")
    }
}

#[async_trait]
impl HealthCheck for ScriptedHealth {
    async fn check(&self, _target: &Target, _instance: &Instance) -> Result<Health> {
        Ok(self.0.next().unwrap_or_else(Health::healthy))
    }
}

/// A gate that judges by a script: each verdict once, the last one for ever, undecided for an empty script. Clones share
/// it.
#[derive(Debug, Clone)]
pub struct ScriptedGate(Script<Verdict>);

impl ScriptedGate {
    /// Judges like this.
    pub fn new(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        Self(Script::new(verdicts))
    }

    /// Judges like this from now on.
    pub fn judge_as(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        self.0.set(verdicts);
    }
}

impl fmt::Display for ScriptedGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted gate")
    }
}

#[async_trait]
impl Gate for ScriptedGate {
    async fn judge(&self, _window: &Window) -> Result<Verdict> {
        Ok(self.0.next().unwrap_or_else(|| Verdict::Undecided { needs: "a script".to_owned() }))
    }
}
