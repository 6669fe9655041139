use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_text::short;
use crate::error::{Error, sources};
use crate::state::{MemberRecord, OperationKind, Outcome, Step};
use crate::types::{MemberName, OperationId, ServiceName, Slot, Split, Timestamp, Version};

/// How many members a report prints beside all that were set aside.
const MEMBERS_SHOWN: usize = 10;

/// What an operation did, step by step. `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// The members of a fleet: those that failed first, then the slowest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberReport>,
    /// The split when it ended, as the router told it.
    pub split: Option<Split>,
    /// What a reader should know: drift that was found, requests still in flight, what was taken over.
    pub notes: Vec<String>,
    /// What a person can do, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of the failed slot's log.
    pub logs: Vec<String>,
}

/// One step of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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

/// One member of a fleet in a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberReport {
    /// The member.
    pub name: MemberName,
    /// How long it was worked on.
    #[serde(with = "millis")]
    pub took: Duration,
    /// What is on it now, and why it was set aside, if it was.
    #[serde(flatten)]
    pub record: MemberRecord,
}

/// One line: name, what is in its slots, how it stands, how long it was worked on.
impl fmt::Display for MemberReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.record, short(self.took))
    }
}

impl Error {
    /// Attaches the report of the operation that failed.
    #[must_use]
    pub fn with_report(self, report: Report) -> Self {
        self.attach(report)
    }

    /// What happened until it failed, where a pipeline's operation failed.
    pub fn report(&self) -> Option<&Report> {
        self.attachment()
    }

    /// The error on several lines for a person, each thing said once: the report of the operation, if there is one, or else
    /// what was tried, what came back and why, where, and what to do. Ends with a line break.
    ///
    /// ```
    /// use bluegreen_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Unreachable, "connection refused")
    ///     .with_operation("reload nginx")
    ///     .with("host", "web1")
    ///     .with_hint("is nginx running?");
    /// assert_eq!(error.render(), "reload nginx: connection refused\n  host: web1\n  to do: is nginx running?\n");
    /// ```
    pub fn render(&self) -> String {
        if let Some(report) = self.report() {
            return report.to_string();
        }
        let mut text = self.what();
        for cause in sources(self) {
            text.push_str("\n  cause: ");
            text.push_str(&cause.replace('\n', "\n    "));
        }
        for (key, value) in self.place() {
            text.push_str(&format!("\n  {key}: {value}"));
        }
        if let Some(hint) = self.hint() {
            text.push_str("\n  to do: ");
            text.push_str(hint);
        }
        text.push('\n');
        text
    }
}

impl Report {
    /// The slot that has all traffic.
    fn live(&self) -> Option<Slot> {
        self.split.and_then(|split| split.sole())
    }

    fn subject(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let slot = self.slot.map(|slot| format!(" ({slot})")).unwrap_or_default();
        format!("{}{version}{slot}", self.service)
    }
}

/// The whole report as a table. What a failed step says is not said again.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headline = self.outcome.headline(self.kind, self.live());
        let recovered =
            matches!(self.outcome, Outcome::Succeeded | Outcome::Aborted { .. } | Outcome::RolledBack { .. });
        match self.kind {
            OperationKind::Recover if recovered => writeln!(f, "recovered {}: {headline}", self.subject())?,
            kind => writeln!(f, "{kind} of {}: {headline}", self.subject())?,
        }
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
        let width = self.members.iter().map(|member| member.name.as_str().len()).max().unwrap_or(0);
        let aside = self.members.iter().filter(|member| member.record.set_aside.is_some()).count();
        let shown = (aside + MEMBERS_SHOWN).min(self.members.len());
        for member in &self.members[..shown] {
            writeln!(f, "  {:width$}  {member}", member.name)?;
        }
        if let more @ 1.. = self.members.len() - shown {
            writeln!(f, "  and {more} more members, none slower and none set aside")?;
        }
        let told =
            |cause: &str| self.steps.iter().any(|step| step.error.as_ref().is_some_and(|text| cause.ends_with(text)));
        if let Some(cause) = self.outcome.cause().filter(|cause| !told(cause)) {
            writeln!(f, "  cause: {cause}")?;
        }
        if let Outcome::Stuck { undo, .. } = &self.outcome
            && !told(undo)
        {
            writeln!(f, "  undoing it failed: {undo}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "  to do: {hint}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if !self.logs.is_empty() {
            writeln!(f, "  last log lines of the failed slot:")?;
            for line in &self.logs {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
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
