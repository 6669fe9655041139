//! The shell scripts that run on the host: what must happen under one lock there happens in one of them.

use bluegreen_core::host::{quote, quote_all};
use bluegreen_core::{Command, Error, ErrorKind, Host, MARK, Ownership, Result};

use crate::config::NginxConfig;

const LIBRARY: &str = include_str!("scripts/lib.sh");

/// For a test or a reload to end. nginx looks names of upstreams up while it tests, and a dead resolver takes 30 s.
const COMMAND_SECONDS: u32 = 60;

/// For a script, which may run a test and a reload after it waited 10 s for the lock.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(150);

/// A script and what it is given.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    purpose: &'static str,
    body: &'static str,
    arguments: Vec<String>,
    input: Vec<u8>,
    changes: bool,
    detached: bool,
}

impl Script {
    /// A script that only looks.
    pub(crate) fn look(purpose: &'static str, body: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { purpose, body, arguments, input: Vec::new(), changes: false, detached: false }
    }

    /// A script that changes something.
    pub(crate) fn change(purpose: &'static str, body: &'static str, arguments: &[&str]) -> Self {
        Self { changes: true, ..Self::look(purpose, body, arguments) }
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// It runs to its end also when the call that started it is cut off: a change that nginx was not told of yet would be
    /// a trap for whoever reloads next.
    pub(crate) fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    fn command(&self, config: &NginxConfig, owner: &Ownership) -> Command {
        let bounded = |words: Vec<String>| format!("timeout {COMMAND_SECONDS} {}", quote_all(words));
        let text = format!(
            "owner={} mark={MARK}\ntest_nginx() {{ {}; }}\nreload_nginx() {{ {}; }}\ndump_nginx() {{ {}; }}\n{LIBRARY}\n{}",
            quote(owner.service().map_or("", |service| service.as_str())),
            bounded(config.test_words()),
            bounded(config.reload_words()),
            bounded(config.dump_words()),
            self.body
        );
        // The second command keeps the shell from becoming setsid itself, which would then not wait.
        let command = match self.detached {
            true => Command::script("setsid sh -c \"$@\"; exit $?").arg(text).arg("sh"),
            false => Command::script(text),
        };
        command
            .called(self.purpose)
            .args(self.arguments.iter().cloned())
            .stdin(self.input.clone())
            .sudo(config.sudo)
            .timeout(LIMIT)
    }

    /// Runs it.
    ///
    /// # Errors
    /// `Conflict` when another script of the same service holds the lock, or the state directory is another service's; `Unexpected` with its words when it fails.
    pub(crate) async fn run(&self, host: &dyn Host, config: &NginxConfig, owner: &Ownership) -> Result<Reply> {
        let about = |error: Error| match self.changes {
            true => error.with_operation(self.purpose),
            false => error.with_operation(self.purpose).not_applied(),
        };
        let output = host.run(&self.command(config, owner)).await.map_err(about)?;
        let said = output.error_text();
        if !output.success() {
            let message = if said.is_empty() { output.ending() } else { said };
            return Err(about(Error::new(ErrorKind::Unexpected, message).with("host", host)));
        }
        let reply = Reply { lines: output.text().lines().map(str::to_owned).collect(), said };
        if let Some(mark) = reply.get("belongs") {
            owner.check(Some(mark), config.state_directory_path()).map_err(|error| error.with("host", host))?;
        }
        if reply.is("busy") {
            let error = Error::new(ErrorKind::Conflict, "the lock of the service was held for 10 s").not_applied();
            return Err(error
                .retryable(true)
                .with_operation(self.purpose)
                .with("host", host)
                .with("lock", format!("{}/lock", config.state_directory_path())));
        }
        Ok(reply)
    }
}

/// What a script says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    lines: Vec<String>,
    /// The words of the programs it ran.
    pub(crate) said: String,
}

impl Reply {
    /// Whether its first line is this one.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.lines.first().is_some_and(|line| line == word)
    }

    /// The rest of each line that begins with this word.
    pub(crate) fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| match line.split_once(' ') {
            Some((first, rest)) if first == word => Some(rest),
            None if line == word => Some(""),
            _ => None,
        })
    }

    /// The words and rests of all lines.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| line.split_once(' '))
    }

    /// The rest of the first line that begins with this word.
    pub(crate) fn get<'a>(&'a self, word: &'a str) -> Option<&'a str> {
        self.all(word).next()
    }

    /// An error about a reply that no script gives.
    pub(crate) fn unexpected(&self, purpose: &'static str) -> Error {
        Error::new(ErrorKind::Unexpected, format!("the script answered {:?}", self.lines)).with_operation(purpose)
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_core::LocalHost;

    use super::*;

    #[tokio::test]
    async fn the_words_of_the_commands_reach_the_host_unchanged() {
        let words = ["printf", "%s|", "a b", "$HOME", "it's; $(id)", "`x`"];
        let config = NginxConfig::new("shop").test_command(words);
        let script = Script::look("test", "reply \"$(test_nginx)\" \"$1\"", &["$HOME; it's \"x\""]);
        let reply = script.run(&LocalHost::new(), &config, &Ownership::new()).await.unwrap();
        assert_eq!(reply.lines, ["a b|$HOME|it's; $(id)|`x`|", "$HOME; it's \"x\""]);
    }

    #[tokio::test]
    async fn a_detached_script_runs_to_its_end_when_the_call_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("done").display().to_string();
        let config = NginxConfig::new("shop");
        let script =
            Script::change("test", "cat > $1.in; sleep 0.5; echo x > $1; reply ended", &[&file]).input("hello");
        let cut = tokio::time::timeout(std::time::Duration::from_millis(200), async {
            script.clone().detached().run(&LocalHost::new(), &config, &Ownership::new()).await
        });
        assert!(cut.await.is_err());
        assert!(!std::path::Path::new(&file).exists());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(std::path::Path::new(&file).exists(), "the script died with the call");

        let reply = script.clone().detached().run(&LocalHost::new(), &config, &Ownership::new()).await.unwrap();
        assert!(reply.is("ended"), "a detached script is waited for, and its reply read: {reply:?}");
        assert_eq!(std::fs::read_to_string(format!("{file}.in")).unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_script_that_fails_is_an_error_with_its_words() {
        let script = Script::look("look for it", "fail 'it is not there'", &[]);
        let error = script.run(&LocalHost::new(), &NginxConfig::new("shop"), &Ownership::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "look for it: it is not there (host: this machine)");
    }
}
