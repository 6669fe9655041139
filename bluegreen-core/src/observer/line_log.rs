use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::duration_text::short;
use crate::event::{Event, EventKind};
use crate::observer::Observer;

/// Writes a plain line for each event that a person wants to read in a log; frequent ones (bytes, drain and soak
/// ticks) only when they say something new.
pub struct LineLog<W> {
    writer: Mutex<Written<W>>,
}

struct Written<W> {
    writer: W,
    last: String,
}

impl<W: Write + Send + 'static> LineLog<W> {
    /// Writes to `writer`. A writer that fails is ignored: watching must not break a deploy.
    pub fn new(writer: W) -> Self {
        Self { writer: Mutex::new(Written { writer, last: String::new() }) }
    }
}

impl LineLog<std::io::Stderr> {
    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self::new(std::io::stderr())
    }
}

impl<W> fmt::Debug for LineLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineLog")
    }
}

impl<W: Write + Send + 'static> Observer for LineLog<W> {
    fn observe(&self, event: &Event) {
        let Some(text) = line(event) else { return };
        let mut written = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let news = news(event).unwrap_or_else(|| text.clone());
        if written.last == news {
            return;
        }
        let _ = writeln!(written.writer, "{} {text}", event.at).and_then(|()| written.writer.flush());
        written.last = news;
    }
}

/// What must change for a soak's tick to be worth another line: what the gates say, not the numbers they say it with.
fn news(event: &Event) -> Option<String> {
    let EventKind::Soaking { verdicts, .. } = &event.what else { return None };
    let said = verdicts.iter().map(|said| std::mem::discriminant(&said.verdict));
    Some(format!("{:?} {:?}", event.step, said.collect::<Vec<_>>()))
}

/// What the log says of an event; `None` for what only a live display shows.
pub(super) fn line(event: &Event) -> Option<String> {
    let Event { service, kind, .. } = event;
    let millis = Duration::from_millis;
    let step = event.step.map(|step| step.to_string()).unwrap_or_default();
    Some(match &event.what {
        EventKind::Member { member, change } => format!("{member}: {change}"),
        EventKind::Begun => {
            let version = event.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let slot = event.slot.map(|slot| format!(", slot {slot}")).unwrap_or_default();
            format!("{service}: {kind}{version} begins{slot} ({})", event.operation)
        }
        EventKind::Note { text } => format!("{service}: note: {text}"),
        EventKind::StepStarted { .. } => format!("{service}: {step} ..."),
        EventKind::StepDone { millis: took, detail } => {
            let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{service}: {step} ok ({}){detail}", short(millis(*took)))
        }
        EventKind::StepFailed { millis: took, error } => {
            format!("{service}: {step} FAILED ({}): {error}", short(millis(*took)))
        }
        EventKind::Checked { reason: Some(reason), .. } => format!("{service}: {step}: not yet: {reason}"),
        EventKind::Shifted { from, to } => {
            let from = from.map_or_else(|| "nothing".to_owned(), |from| from.to_string());
            format!("{service}: traffic moved from {from} to {to}")
        }
        EventKind::Soaking { verdicts, .. } if !verdicts.is_empty() => {
            let said: Vec<_> = verdicts.iter().map(|said| format!("{} {}", said.gate, said.verdict)).collect();
            format!("{service}: {step}: {}", said.join("; "))
        }
        EventKind::Draining { in_flight: Some(count) } if *count > 0 => {
            format!("{service}: {step}: {count} requests in flight")
        }
        EventKind::Finished { result, millis: took } => {
            format!("{service}: {kind} {result} ({})", short(millis(*took)))
        }
        EventKind::Transfer { .. }
        | EventKind::Members { .. }
        | EventKind::Checked { .. }
        | EventKind::Soaking { .. }
        | EventKind::Draining { .. } => return None,
    })
}
