//! What is sent to the server's shell, and how.

use bluegreen_core::host::{quote, quote_all};
use bluegreen_core::{Command, Result};

/// A text for a POSIX shell.
#[derive(Debug)]
pub(crate) struct Script {
    text: Text,
    sudo: bool,
    secret: bool,
}

#[derive(Debug)]
enum Text {
    /// Replaces the shell by the command.
    Command(String),
    /// Is run by the shell itself.
    Inline(String),
}

impl Script {
    /// The script of a command: its directory, its environment, and its words.
    ///
    /// # Errors
    /// As [`Command::words`].
    pub(crate) fn command(command: &Command) -> Result<Self> {
        let words = command.words()?;
        let sudo = words.first().is_some_and(|program| program == "sudo");
        let mut text = String::new();
        if let Some(directory) = command.working_directory() {
            text.push_str(&format!("CDPATH= cd -- {} || exit {NOT_FOUND}\n", quote(directory)));
        }
        for (name, value) in command.variables() {
            text.push_str(&format!("export {name}={}\n", quote(value.reveal())));
        }
        text.push_str(&format!("exec {}", quote_all(words)));
        Ok(Self { text: Text::Command(text), sudo, secret: !command.variables().is_empty() })
    }

    /// A script of our own, with its arguments as `$1`, `$2`, ... Programs in it report errors in English.
    pub(crate) fn inline(text: &str, args: &[&str]) -> Self {
        Self {
            text: Text::Inline(format!("export LC_ALL=C\nset -- {}\n{text}", quote_all(args))),
            sudo: false,
            secret: false,
        }
    }

    /// Whether it runs as root, so that only root can end it.
    pub(crate) fn is_sudo(&self) -> bool {
        self.sudo
    }

    /// Whether it is one of ours, which clean up after themselves when their input ends early.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self.text, Text::Inline(_))
    }

    /// The script alone, for a shell that reads it from a file.
    pub(crate) fn text(&self) -> &str {
        match &self.text {
            Text::Command(text) | Text::Inline(text) => text,
        }
    }

    /// What the server is asked to run, and what it must read first from standard input.
    ///
    /// A script with environment variables goes through standard input, so that no list of processes ever shows them.
    /// Any other one is part of what is asked for, which saves a round trip: OpenSSH takes input only after that.
    ///
    /// On both streams a line with `marker` comes first (on standard error with the process id), so that what a
    /// profile prints is not taken for output.
    pub(crate) fn render(&self, marker: &str) -> (String, String) {
        let script = match &self.text {
            // The trap is heard only where the exec did not happen.
            Text::Command(text) => format!("trap 'printf \"%s %s\\n\" {marker} $? >&2' EXIT\n{text}\n"),
            Text::Inline(text) => format!("{text}\n"),
        };
        let begin = format!(r#"printf "%s\n" {marker}; printf "%s %s\n" {marker} $$ >&2;"#);
        if !self.secret && script.len() <= MAX_ARGUMENT {
            let encoded = encode(&script);
            return (format!(r#"exec sh -c '{begin} eval "$(printf %b "{encoded}")"'"#), String::new());
        }
        let lines = script.matches('\n').count();
        // `read` takes no byte more than its line, so the rest of the input belongs to the script.
        let bootstrap = format!(
            r#"exec sh -c '{begin} N=$(printf "\n_"); N=${{N%_}}; s=; n={lines}; while [ $n -gt 0 ]; do IFS= read -r l || exit 1; s=$s$l$N; n=$((n-1)); done; unset N n l; eval "$s"'"#
        );
        (bootstrap, script)
    }
}

/// The longest script that is part of what is asked for. Linux allows 128 KiB for a word, and coding takes up to five
/// bytes for one.
const MAX_ARGUMENT: usize = 16 << 10;

/// A script for `printf %b`, in characters that mean nothing in a single-quoted word of any login shell, also fish and
/// csh: no quote, no `!`, no newline, no backslash before one of them.
fn encode(script: &str) -> String {
    let mut encoded = String::with_capacity(script.len() * 2);
    for byte in script.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_' | b'-' | b'.' | b'/' | b'=' | b':' | b',' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("\\0{byte:03o}")),
        }
    }
    encoded
}

/// The exit status of a shell that found no such program (POSIX, "Exit Status for Commands").
pub(crate) const NOT_FOUND: i32 = 127;

/// A word that occurs in no output by chance.
pub(crate) fn marker() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("bluegreen-{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Output, Stdio};

    use bluegreen_core::Secret;

    use super::*;

    /// Runs a script as the server would, under the given login shell.
    fn run(shell: &[&str], script: &Script, input: &str) -> Output {
        let (bootstrap, prefix) = script.render("MARK");
        let mut child = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", &bootstrap])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(prefix.as_bytes()).unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// The shells that are installed here; `sh` always is.
    fn shells() -> Vec<Vec<&'static str>> {
        let all = [vec!["sh"], vec!["bash"], vec!["busybox", "sh"], vec!["zsh"], vec!["fish"], vec!["tcsh"]];
        let works = |shell: &Vec<&str>| {
            let run = std::process::Command::new(shell[0]).args(&shell[1..]).args(["-c", "exit 0"]).output();
            run.is_ok_and(|output| output.status.success())
        };
        all.into_iter().filter(works).collect()
    }

    #[test]
    fn every_login_shell_passes_words_environment_and_input_on_unchanged() {
        let hostile = "a'b\"c$(id)`id`\\\n  !x %s \t*";
        let command = Command::new("sh")
            .args(["-c", "printf '%s|%s|%s|' \"$1\" \"$X\" \"$PWD\"; cat", "sh", hostile])
            .env("X", Secret::new(hostile))
            .directory("/tmp");
        let script = Script::command(&command).unwrap();
        let long = "x".repeat(MAX_ARGUMENT);
        let open = Command::new("sh").args(["-c", "printf '%s|' \"$@\"; cat", "sh", hostile]);
        for shell in shells() {
            let output = run(&shell, &script, "line 1\nline 2");
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, format!("MARK\n{hostile}|{hostile}|/tmp|line 1\nline 2"), "{shell:?}");
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(errors.starts_with("MARK ") && errors.ends_with('\n'), "{shell:?}: {errors}");
            for (command, last) in [(open.clone(), ""), (open.clone().arg(&long), &*format!("{long}|"))] {
                let output = run(&shell, &Script::command(&command).unwrap(), "line 1\nline 2");
                let text = String::from_utf8(output.stdout).unwrap();
                assert_eq!(text, format!("MARK\n{hostile}|{last}line 1\nline 2"), "{shell:?}");
            }
        }
    }

    #[test]
    fn a_missing_program_or_directory_is_told_apart_from_a_program_that_fails() {
        let missing = [Command::new("no-such-program-here"), Command::new("true").directory("/no/such/directory")];
        for (shell, command) in shells().iter().flat_map(|shell| missing.iter().map(move |command| (shell, command))) {
            let output = run(shell, &Script::command(command).unwrap(), "");
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(errors.ends_with("MARK 127\n"), "{shell:?}: {errors}");
        }
        let output = run(&["sh"], &Script::command(&Command::script("exit 127")).unwrap(), "");
        assert_eq!(output.status.code(), Some(127));
        assert!(!String::from_utf8(output.stderr).unwrap().contains("MARK 127"));
    }

    #[test]
    fn what_is_asked_for_is_the_same_whatever_the_secret() {
        let bootstrap = |secret| {
            let command = Command::new("x").arg("word").env("TOKEN", Secret::new(secret));
            Script::command(&command).unwrap().render("MARK").0
        };
        assert_eq!(bootstrap("hunter2"), bootstrap("$(x)'\\"));
    }
}
