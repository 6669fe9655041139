use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::state::{HookName, HookPlace, OperationKind, Outcome};
use crate::types::{OperationId, ServiceName, Target};

/// What a hook is told. `Display` is one line for a person: `deploy of shop 2.0 (green) by ann: succeeded`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HookCall {
    /// The service.
    pub service: ServiceName,
    /// The operation. Where a recovery brings a dead operation to its end, it is the dead one.
    pub operation: OperationId,
    /// What it is.
    pub kind: OperationKind,
    /// Who runs it.
    pub by: String,
    /// The name of the hook.
    pub hook: HookName,
    /// Where it runs.
    pub place: HookPlace,
    /// What the operation is about: the release that gets the traffic, in its slot, with its settings. Before a slot is
    /// retired, the release that is to be stopped.
    pub target: Target,
    /// The release that had the traffic when the operation began; none for a first deploy.
    pub from: Option<Target>,
    /// How the operation ended, after it has.
    pub outcome: Option<Outcome>,
    /// How long the hook may take.
    pub timeout: Duration,
}

impl HookCall {
    /// The call as JSON, for a receiver that is a program: `service`, `operation`, `kind`, `by`, `hook`, `place`, `percent`,
    /// `slot`, `version`, `settings`, `from` (`slot`, `version`), `outcome` (as in [`Outcome`]) and `text`, the line for a
    /// person. What does not apply is `null`.
    pub fn to_json(&self) -> Value {
        let from = self.from.as_ref().map(|from| json!({"slot": from.slot, "version": from.version()}));
        json!({
            "service": self.service,
            "operation": self.operation,
            "kind": self.kind,
            "by": self.by,
            "hook": self.hook,
            "place": self.place.to_string(),
            "percent": self.place.percent(),
            "slot": self.target.slot,
            "version": self.target.version(),
            "settings": self.target.release.settings_map(),
            "from": from,
            "outcome": self.outcome,
            "text": self.to_string(),
        })
    }
}

impl fmt::Display for HookCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, service, target, by, place, .. } = self;
        write!(f, "{kind} of {service} {} ({}) by {by}: ", target.version(), target.slot)?;
        match &self.outcome {
            Some(outcome) => write!(f, "{outcome}"),
            None => write!(f, "{place}"),
        }
    }
}
