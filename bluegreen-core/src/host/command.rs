use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::host::quote_all;
use crate::types::Secret;

/// Default time limit of a command: 15 minutes. Long enough for a migration, short enough that a deploy which
/// hangs is noticed the same morning.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Default for how much of each output stream is kept: 1 MiB.
pub const DEFAULT_OUTPUT_LIMIT: usize = 1 << 20;

/// The setters of what becomes a command.
macro_rules! run_setters {
    () => {
        /// Adds an argument.
        #[must_use]
        pub fn arg(mut self, arg: impl Into<String>) -> Self {
            self.args.push(arg.into());
            self
        }

        /// Adds arguments.
        #[must_use]
        pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
            self.args.extend(args.into_iter().map(Into::into));
            self
        }

        /// Sets what it reads from its standard input. Default: nothing.
        #[must_use]
        pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
            self.stdin = bytes.into();
            self
        }

        /// Runs it as root by `sudo -n`, which never asks for a password.
        #[must_use]
        pub fn sudo(mut self, sudo: bool) -> Self {
            self.sudo = sudo;
            self
        }

        /// Sets how long it may take before it is ended. Default: 15 minutes
        /// ([`DEFAULT_TIMEOUT`](crate::host::DEFAULT_TIMEOUT)).
        #[must_use]
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.timeout = timeout;
            self
        }

        /// Sets how many bytes of each output stream are kept (the last ones). Default: 1 MiB
        /// ([`DEFAULT_OUTPUT_LIMIT`](crate::host::DEFAULT_OUTPUT_LIMIT)).
        #[must_use]
        pub fn output_limit(mut self, bytes: usize) -> Self {
            self.output_limit = bytes;
            self
        }
    };
}

pub(super) use run_setters;

/// A command as its words, with all that it needs; the host does the quoting.
///
/// Environment values are secrets by type: a host passes them so that they are not seen in a process list.
///
/// ```
/// use bluegreen_core::{Command, Secret};
///
/// let command = Command::new("bin/shop").args(["eval", "Shop.Release.migrate()"]).env("DATABASE_URL", Secret::new("x"));
/// assert_eq!(command.to_string(), "bin/shop eval 'Shop.Release.migrate()'");
/// ```
#[derive(Clone)]
pub struct Command {
    program: String,
    args: Vec<String>,
    called: Option<String>,
    env: BTreeMap<String, Secret>,
    stdin: Vec<u8>,
    directory: Option<String>,
    sudo: bool,
    timeout: Duration,
    output_limit: usize,
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            called: None,
            env: BTreeMap::new(),
            stdin: Vec::new(),
            directory: None,
            sudo: false,
            timeout: DEFAULT_TIMEOUT,
            output_limit: DEFAULT_OUTPUT_LIMIT,
        }
    }

    /// A command that runs a script in `sh`, with the arguments as `$1`, `$2`, ... and the script free of any quoting.
    pub fn script(script: impl Into<String>) -> Self {
        Self::new("sh").arg("-c").arg(script).arg("sh")
    }

    /// Says in a few words what it does, for errors and logs: the text of a script tells nobody anything.
    #[must_use]
    pub fn called(mut self, name: impl Into<String>) -> Self {
        self.called = Some(name.into());
        self
    }

    run_setters!();

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.env.insert(name.into(), value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// The program and its arguments, for hosts. With sudo, `sudo -n --` and the names of the variables it must let
    /// through come first.
    ///
    /// # Errors
    /// `Config` when a word, a variable or the directory holds a NUL, or a variable's name is not
    /// `[A-Za-z_][A-Za-z0-9_]*`.
    pub fn words(&self) -> Result<Vec<String>> {
        let texts = self.args.iter().chain([&self.program]).chain(&self.directory);
        let values = self.env.values().map(Secret::reveal);
        if texts.map(String::as_str).chain(values).any(|text| text.contains('\0')) {
            return Err(Error::config("a command must not contain a NUL character").with("program", &self.program));
        }
        self.env.keys().try_for_each(|name| check_variable_name(name))?;
        let mut words = Vec::new();
        if self.sudo {
            words.extend(["sudo".to_owned(), "-n".to_owned()]);
            if !self.env.is_empty() {
                let names: Vec<_> = self.env.keys().map(String::as_str).collect();
                words.push(format!("--preserve-env={}", names.join(",")));
            }
            words.push("--".to_owned());
        }
        words.push(self.program.clone());
        words.extend(self.args.iter().cloned());
        Ok(words)
    }

    /// The environment variables to add, for hosts.
    pub fn variables(&self) -> &BTreeMap<String, Secret> {
        &self.env
    }

    /// What to feed to standard input, for hosts.
    pub fn input(&self) -> &[u8] {
        &self.stdin
    }

    /// The working directory, for hosts.
    pub fn working_directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }

    /// How long it may take, for hosts.
    pub fn time_limit(&self) -> Duration {
        self.timeout
    }

    /// How much output is kept of each stream, for hosts.
    pub fn kept_output(&self) -> usize {
        self.output_limit
    }
}

/// Without the values of the environment and the input, which may be secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("line", &self.to_string())
            .field("env", &self.env.keys())
            .field("directory", &self.directory)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What it is [`called`](Command::called), or else the command line without the environment and the input, quoted; long
/// ones are shortened.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let sudo = if self.sudo { "sudo -n -- " } else { "" };
        if let Some(name) = &self.called {
            return write!(f, "{sudo}script `{name}`");
        }
        let line = quote_all(std::iter::once(&self.program).chain(&self.args)).replace('\n', " ");
        match line.char_indices().nth(SHOWN) {
            None => write!(f, "{sudo}{line}"),
            Some((end, _)) => write!(f, "{sudo}{}…", &line[..end]),
        }
    }
}

/// Checks that a text can be the name of an environment variable: letters, digits and `_`, not beginning with a digit.
///
/// # Errors
/// `Config` with the text.
pub fn check_variable_name(name: &str) -> Result<()> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(Error::config(format!("{name:?} is not the name of an environment variable")))
}

/// What a finished command left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// The name or number of the signal that ended it.
    pub signal: Option<String>,
    /// The end of standard output, at most [`Command::output_limit`] bytes.
    pub stdout: Vec<u8>,
    /// The end of standard error, at most [`Command::output_limit`] bytes.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }

    /// Standard output as text, without the white space at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error as text, without the white space at its end.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// How it ended: `exit status 1`, `signal 9`.
    pub fn ending(&self) -> String {
        match (self.status, &self.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit status".to_owned(),
        }
    }

    /// How it ended, with the last lines of what it said: of standard error, or of its output where that is empty.
    pub fn last_words(&self, lines: usize) -> String {
        let errors = self.error_text();
        let said = if errors.is_empty() { self.text() } else { errors };
        let all: Vec<_> = said.lines().collect();
        // On one line, as all errors: logs and tables show them.
        match all[all.len().saturating_sub(lines)..].join(" | ").as_str() {
            "" => self.ending(),
            tail => format!("{}: {tail}", self.ending()),
        }
    }

    /// The output, if it ended with status 0.
    ///
    /// # Errors
    /// `Unexpected` with the command, how it ended, and the last lines it wrote to standard error (or, if there are
    /// none, to standard output).
    pub fn ok(self, command: &Command, host: &dyn crate::Host) -> Result<Self> {
        if self.success() {
            return Ok(self);
        }
        Err(Error::new(ErrorKind::Unexpected, self.last_words(LINES_IN_ERROR))
            .with_operation(format!("run {command}"))
            .with("host", host))
    }
}

/// How many lines of what a command said an error shows.
pub(crate) const LINES_IN_ERROR: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_display_nor_debug_shows_the_environment_or_the_input() {
        let command = Command::new("x").env("TOKEN", Secret::new("hunter2")).stdin("hunter2");
        assert!(!command.to_string().contains("hunter2"));
        let debug = format!("{command:?}");
        assert!(debug.contains("TOKEN") && !debug.contains("hunter2") && !debug.contains("104, 117"), "{debug}");
    }

    #[test]
    fn a_script_is_shown_by_what_it_does() {
        let command = Command::script("set -e; a_long_story").called("switch the flags");
        assert_eq!(command.to_string(), "script `switch the flags`");
        assert_eq!(command.sudo(true).to_string(), "sudo -n -- script `switch the flags`");
    }

    #[test]
    fn what_no_program_could_be_given_is_refused() {
        assert!(Command::new("x").arg("a\0b").words().is_err());
        assert!(Command::new("x").env("A=B", Secret::new("")).words().is_err());
        assert!(Command::new("x").env("1A", Secret::new("")).words().is_err());
    }

    #[test]
    fn sudo_never_asks_and_lets_the_variables_through_by_name_only() {
        let command = Command::new("x").arg("y").sudo(true);
        assert_eq!(command.words().unwrap(), ["sudo", "-n", "--", "x", "y"]);
        let command = command.env("B", Secret::new("hunter2")).env("A", Secret::new("z"));
        assert_eq!(command.words().unwrap(), ["sudo", "-n", "--preserve-env=A,B", "--", "x", "y"]);
    }
}
