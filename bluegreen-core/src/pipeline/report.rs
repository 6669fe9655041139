use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::state::{OperationKind, Step};
use crate::types::{OperationId, ServiceName, Slot, Split, Timestamp, Version};

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// What was asked for is done, and confirmed.
    Succeeded,
    /// Traffic stays where it is until a person promotes or rolls back: the gates could not decide, or said that the release
    /// cannot be judged; the migrator refused the contract phase before it began; a recovery found that the public address
    /// does not answer as the release that has all traffic.
    Held {
        /// Why.
        reason: String,
    },
    /// It failed before any traffic moved. The live slot was not touched.
    Aborted {
        /// Why.
        cause: String,
    },
    /// It failed after traffic had moved, and all traffic is back on the old slot, as the router confirmed. Whether the public
    /// address answers was not asked.
    RolledBack {
        /// Why.
        cause: String,
    },
    /// It failed after traffic had moved, and there was nothing to go back to: traffic stays on the new slot. Also a restore
    /// that failed: nothing of it is undone.
    Kept {
        /// Why.
        cause: String,
    },
    /// It failed after the contract phase had begun, which the old release cannot live with: nothing was moved.
    Frozen {
        /// Why.
        cause: String,
    },
    /// It failed, and undoing it failed too. A person has to act.
    Stuck {
        /// Why the operation failed.
        cause: String,
        /// Why the undo failed.
        undo: String,
        /// What a person has to do.
        advice: String,
    },
}

impl Outcome {
    /// Whether what was asked for is done.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// One word for tables: `succeeded`, `rolled back`, ...
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Held { .. } => "held",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled back",
            Self::Kept { .. } => "failed, kept",
            Self::Frozen { .. } => "frozen",
            Self::Stuck { .. } => "STUCK",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Held { reason } => write!(f, "held, traffic stays where it is: {reason}"),
            Self::Aborted { cause } => write!(f, "aborted before any traffic moved: {cause}"),
            Self::RolledBack { cause } => write!(f, "rolled back, all traffic is on the old slot: {cause}"),
            Self::Kept { cause } => write!(f, "failed with nothing to go back to, traffic stays: {cause}"),
            Self::Frozen { cause } => write!(f, "failed after the contract phase, nothing was moved: {cause}"),
            Self::Stuck { cause, undo, advice } => {
                write!(f, "STUCK: {cause}; and undoing it failed: {undo}; to do: {advice}")
            }
        }
    }
}

/// What an operation did, step by step. `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The operation.
    pub operation: OperationId,
    /// What it was.
    pub kind: OperationKind,
    /// The service.
    pub service: ServiceName,
    /// The version it was about.
    pub version: Option<Version>,
    /// The slot it gave traffic to, or acted on.
    pub slot: Option<Slot>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    #[serde(with = "millis")]
    pub duration: Duration,
    /// The steps in the order they ran.
    pub steps: Vec<StepReport>,
    /// The split when it ended, as the router told it.
    pub split: Option<Split>,
    /// What a reader should know: drift that was found, requests still in flight, what was taken over.
    pub notes: Vec<String>,
    /// The last lines of the failed slot's log.
    pub logs: Vec<String>,
}

/// One step of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// How long it took.
    #[serde(with = "millis")]
    pub duration: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What it found: "3 healthy answers in a row", "0 of 4,012 requests failed".
    pub detail: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.service)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        if let Some(slot) = self.slot {
            write!(f, " ({slot})")?;
        }
        writeln!(f, ": {}", self.outcome)?;
        let width = self.steps.iter().map(|step| step.step.to_string().len()).max().unwrap_or(0);
        for step in &self.steps {
            let mark = if step.error.is_some() { "FAILED" } else { "ok" };
            let text = step.error.as_ref().or(step.detail.as_ref()).map_or("", String::as_str);
            let line = format!("  {:width$}  {:>9}  {mark:<6}  {text}", step.step, short(step.duration));
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "  {:width$}  {:>9}", "total", short(self.duration))?;
        if let Some(split) = self.split {
            writeln!(f, "  traffic: {split}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if !self.logs.is_empty() {
            writeln!(f, "  the failed slot's last log lines:")?;
            for line in &self.logs {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// A duration as people read it: `12 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn short(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => format!("{} µs", duration.as_micros()),
        1..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        60_000..3_600_000 => two(millis / 60_000, "min", millis / 1000 % 60, "s"),
        _ => two(millis / 3_600_000, "h", millis / 60_000 % 60, "min"),
    }
}

fn two(large: u128, unit: &str, small: u128, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
