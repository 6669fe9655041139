//! What a shell script of ours says when it has done its work on a host.

use bluegreen_core::{Command, Error, ErrorKind, Host, Output, Result};

/// Runs a script to its end.
///
/// # Errors
/// `Conflict` when another script of the slot holds its lock; `Unexpected` with its words when it fails.
pub(crate) async fn run(host: &dyn Host, command: &Command) -> Result<Reply> {
    let output = host.run(command).await?;
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
    Error::new(ErrorKind::Unexpected, output.last_words(LINES_IN_ERROR)).with("host", host)
}

/// How many lines of what a program said an error shows.
pub(crate) const LINES_IN_ERROR: usize = 15;

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
