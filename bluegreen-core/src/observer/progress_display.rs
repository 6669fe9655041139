use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::duration_text::short;
use crate::event::{Event, EventKind};
use crate::observer::{Observer, line_log};

/// Shows what is going on in one live line below a log of what is done: bytes sent, healthy answers, soak countdown,
/// gate evidence, requests in flight. Where standard error is not a terminal, it writes plain lines.
pub struct ProgressDisplay {
    screen: MultiProgress,
    bar: Mutex<Option<ProgressBar>>,
    plain: Option<line_log::LineLog<std::io::Stderr>>,
}

impl ProgressDisplay {
    /// Draws on standard error.
    pub fn stderr() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            bar: Mutex::new(None),
            plain: (!terminal).then(line_log::LineLog::stderr),
        }
    }

    /// Prints a line above the live one without tearing it.
    pub fn print(&self, text: &str) {
        if self.plain.is_some() || self.screen.println(text).is_err() {
            eprintln!("{text}");
        }
    }

    fn bar(&self) -> ProgressBar {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.get_or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        })
        .clone()
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl fmt::Debug for ProgressDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressDisplay")
    }
}

impl Observer for ProgressDisplay {
    fn observe(&self, event: &Event) {
        if let Some(plain) = &self.plain {
            plain.observe(event);
            return;
        }
        if let Some(live) = live(event) {
            self.bar().set_message(live);
        }
        match &event.what {
            EventKind::StepStarted { .. }
            | EventKind::Soaking { .. }
            | EventKind::Checked { .. }
            | EventKind::Members { .. }
            | EventKind::Draining { .. } => {}
            EventKind::Finished { .. } => {
                self.clear();
                self.log(event);
            }
            EventKind::StepDone { .. } | EventKind::StepFailed { .. } => {
                self.clear();
                self.log(event);
            }
            _ => self.log(event),
        }
    }
}

impl ProgressDisplay {
    fn log(&self, event: &Event) {
        if let Some(line) = line_log::line(event) {
            self.print(&line);
        }
    }
}

/// The live line for an event, where it changes it.
fn live(event: &Event) -> Option<String> {
    let step = event.step.map(|step| step.to_string())?;
    Some(match &event.what {
        EventKind::StepStarted { timeout_millis } => {
            format!("{step} (at most {})", short(Duration::from_millis(*timeout_millis)))
        }
        EventKind::Transfer { what, done, total } => match total {
            Some(total) => format!("{step}: {what}, {} of {}", bytes(*done), bytes(*total)),
            None => format!("{step}: {what}, {}", bytes(*done)),
        },
        EventKind::Checked { streak, needed, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{step}: {streak} of {needed} healthy answers in a row{reason}")
        }
        EventKind::Soaking { remaining_millis, verdicts } => {
            let left = match remaining_millis {
                0 => "extended".to_owned(),
                left => format!("{} left", short(Duration::from_millis(*left))),
            };
            let said: Vec<_> = verdicts.iter().map(|said| format!("{} {}", said.gate, said.verdict)).collect();
            format!("{step}: {left} {}", said.join("; "))
        }
        EventKind::Members { done, total, failed: 0 } => format!("{step}: {done} of {total} members"),
        EventKind::Members { done, total, failed } => format!("{step}: {done} of {total} members, {failed} failed"),
        EventKind::Draining { in_flight } => match in_flight {
            Some(count) => format!("{step}: {count} requests in flight"),
            None => format!("{step}: the router cannot count requests, waiting"),
        },
        _ => return None,
    })
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
