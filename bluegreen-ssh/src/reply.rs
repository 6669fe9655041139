//! What a shell script of ours says when it has done its work on a host.

use bluegreen_core::{Command, Error, ErrorKind, Host, Output, Result};

/// Runs a script to its end.
///
/// # Errors
/// `Conflict` when another script of the slot holds its lock; `Unexpected` with its words when it fails.
pub(crate) async fn run(host: &dyn Host, command: &Command) -> Result<Reply> {
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
pub(crate) fn failed(host: &dyn Host, output: &Output) -> Error {
    Error::new(ErrorKind::Unexpected, ending(output)).with("host", host)
}

/// How a program ended, with the last lines it wrote.
pub(crate) fn ending(output: &Output) -> String {
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

    /// The lines after the first one that begins with this word, and that one's rest.
    pub(crate) fn line(&self, word: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    /// Whether there is such a line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|have| have == line)
    }

    /// The lines behind the line `log`.
    pub(crate) fn log(&self) -> Vec<&str> {
        self.lines.iter().skip_while(|line| *line != "log").skip(1).map(String::as_str).collect()
    }

    /// All lines.
    pub(crate) fn lines(self) -> Vec<String> {
        self.lines
    }

    /// An error about a reply that no script gives.
    pub(crate) fn unexpected(&self, host: &dyn Host) -> Error {
        Error::new(ErrorKind::Unexpected, format!("the script answered {:?}", self.lines)).with("host", host)
    }
}
