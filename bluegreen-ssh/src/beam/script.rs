//! The shell scripts that do the work on the host: each is one round trip.

use std::time::Duration;

use bluegreen_core::host::quote;
use bluegreen_core::{Command, Error, ErrorKind, Host, Output, Result, Slot};

use super::settings::Settings;

const LIBRARY: &str = include_str!("scripts/lib.sh");

/// A script of ours, and what it does in a few words.
#[derive(Clone, Copy)]
pub(super) struct Body {
    does: &'static str,
    text: &'static str,
}

pub(super) const BEGIN_PREPARE: Body =
    Body { does: "make room for a release", text: include_str!("scripts/begin_prepare.sh") };
pub(super) const FINISH_PREPARE: Body =
    Body { does: "unpack a release", text: include_str!("scripts/finish_prepare.sh") };
pub(super) const START: Body = Body { does: "start a node", text: include_str!("scripts/start.sh") };
pub(super) const INSPECT: Body = Body { does: "look what runs", text: include_str!("scripts/inspect.sh") };
pub(super) const STOP: Body = Body { does: "stop a node", text: include_str!("scripts/stop.sh") };
pub(super) const LOGS: Body = Body { does: "read the log", text: include_str!("scripts/logs.sh") };
pub(super) const RPC: Body = Body { does: "run on a node", text: include_str!("scripts/rpc.sh") };
pub(super) const EVAL: Body = Body { does: "evaluate in a release", text: include_str!("scripts/eval.sh") };

/// The exit status of scripts when there is no release to run.
pub(super) const NO_RELEASE: i32 = 44;

/// What a script may take beyond the time that it is given to wait: for its lock, its disk and its processes.
const MARGIN: Duration = Duration::from_secs(120);

/// A script as a command of the host, with the places of the slot as its first arguments.
pub(super) fn command(settings: &Settings, slot: Slot, body: Body, patience: Duration) -> Command {
    let words = [
        ("app", settings.app.as_str()),
        ("distribution", settings.distribution()),
        ("mapper", &settings.epmd_port.to_string()),
        ("reach", if settings.is_loopback() { "loopback" } else { "network" }),
    ];
    let words: String = words.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
    Command::script(format!("{words}{LIBRARY}\n{}", body.text))
        .called(body.does)
        .arg(&settings.directory)
        .arg(slot.as_str())
        .timeout(patience.saturating_add(MARGIN))
}

/// Runs a script to its end.
///
/// # Errors
/// `Conflict` when another script of the slot holds its lock; `Unexpected` with its words when it fails.
pub(super) async fn run(host: &dyn Host, command: &Command) -> Result<Reply> {
    let output = host.run(command).await.map_err(short)?;
    if !output.success() {
        return Err(failed(host, &output));
    }
    let reply = Reply {
        lines: String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
        said: output.error_text(),
    };
    if reply.word() == "busy" {
        return Err(Error::new(ErrorKind::Conflict, "another deployer has been at work in it for a minute")
            .not_applied()
            .retryable(true)
            .with("host", host));
    }
    Ok(reply)
}

/// What a script or a program says that failed.
pub(super) fn failed(host: &dyn Host, output: &Output) -> Error {
    Error::new(ErrorKind::Unexpected, ending(output)).with("host", host)
}

/// How a program ended, with the last lines it wrote.
pub(super) fn ending(output: &Output) -> String {
    const LINES: usize = 15;
    let errors = output.error_text();
    let said = if errors.is_empty() { output.text() } else { errors };
    let lines: Vec<_> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
    if tail.is_empty() { output.ending() } else { format!("{}: {tail}", output.ending()) }
}

/// An error of the host without the text of our script, which tells nobody anything.
fn short(error: Error) -> Error {
    let effect = error.effect();
    let mut shorter = Error::new(error.kind(), error.message().to_owned()).retryable(error.is_retryable());
    if effect == bluegreen_core::Effect::NotApplied {
        shorter = shorter.not_applied();
    }
    match error.context("host") {
        Some(host) => shorter.with("host", host.to_owned()),
        None => shorter,
    }
    .because(error)
}

/// What a script says.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    lines: Vec<String>,
    /// The words of the programs it ran.
    pub(super) said: String,
}

impl Reply {
    /// The first word.
    pub(super) fn word(&self) -> &str {
        self.lines.first().map_or("", |line| line.split(' ').next().unwrap_or_default())
    }

    /// What stands behind the first word on its line.
    pub(super) fn rest(&self) -> &str {
        self.lines.first().and_then(|line| line.split_once(' ')).map_or("", |(_, rest)| rest)
    }

    /// The lines after the first one that begins with this word, and that one's rest.
    pub(super) fn line(&self, word: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    /// The lines behind the line `log`.
    pub(super) fn log(&self) -> Vec<&str> {
        self.lines.iter().skip_while(|line| *line != "log").skip(1).map(String::as_str).collect()
    }

    /// All lines.
    pub(super) fn lines(self) -> Vec<String> {
        self.lines
    }

    /// An error about a reply that no script gives.
    pub(super) fn unexpected(&self, host: &dyn Host) -> Error {
        Error::new(ErrorKind::Unexpected, format!("the script answered {:?}", self.lines)).with("host", host)
    }
}
