//! The shell scripts that do the work on the host: each is one round trip.

use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Result};

const LIBRARY: &str = include_str!("scripts/lib.sh");

/// How long a script may take beyond the time that it is given: for its lock and its disk.
const MARGIN: Duration = Duration::from_secs(120);

/// A script as a command of the host: what it does in a few words, its text, and how long it waits for something else.
pub(crate) fn command(does: &'static str, text: &str, waits: Duration) -> Command {
    Command::script(format!("{LIBRARY}\n{text}")).called(does).timeout(waits.saturating_add(MARGIN))
}

/// Runs a script to its end.
///
/// # Errors
/// `Conflict` when another deployer holds the lock; `Unexpected` with its words when it fails.
pub(crate) async fn run(host: &dyn Host, command: &Command) -> Result<Reply> {
    let output = host.run(command).await?.ok(command, host)?;
    let reply = Reply {
        lines: String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
        said: output.error_text(),
    };
    match reply.word() {
        "busy" => Err(Error::new(ErrorKind::Conflict, "another deployer has been at work in it for a minute")
            .not_applied()
            .retryable(true)
            .with("host", host)),
        _ => Ok(reply),
    }
}

/// What a script says.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    lines: Vec<String>,
    /// The words of the programs it ran.
    pub(crate) said: String,
}

impl Reply {
    /// The first word.
    pub(crate) fn word(&self) -> &str {
        self.lines.first().map_or("", |line| line.split(' ').next().unwrap_or_default())
    }

    /// What stands behind the first word on its line.
    pub(crate) fn rest(&self) -> &str {
        self.lines.first().and_then(|line| line.split_once(' ')).map_or("", |(_, rest)| rest)
    }

    /// The rests of the lines that begin with this word.
    pub(crate) fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    /// The rest of the first of them.
    pub(crate) fn get(&self, word: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    /// The first line.
    pub(crate) fn line(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// All lines.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// The lines behind the line that is this word.
    pub(crate) fn after(&self, word: &str) -> Vec<&str> {
        self.lines.iter().skip_while(|line| *line != word).skip(1).map(String::as_str).collect()
    }

    /// An error about a reply that no script gives.
    pub(crate) fn unexpected(&self, host: &dyn Host) -> Error {
        let said = if self.said.is_empty() { String::new() } else { format!(", and said: {}", self.said) };
        Error::new(ErrorKind::Unexpected, format!("the script answered {:?}{said}", self.lines)).with("host", host)
    }
}
