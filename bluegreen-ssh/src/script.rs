//! What is sent to the server's shell, and how.

use bluegreen_core::host::{quote, quote_all};
use bluegreen_core::{Command, Result};

use crate::marker::Marker;

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

/// What a script gets on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Nothing.
    Nothing,
    /// Bytes that it must not run without.
    Bytes,
    /// Answers to what it says. It notices by itself when one is missing.
    Answers,
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

    /// For a shell that [waits](waiting) for it.
    pub(crate) fn render_for_waiting(&self, marker: &Marker) -> Rendered {
        Rendered::by_input(marker, &self.said(marker))
    }

    fn said(&self, marker: &Marker) -> String {
        match &self.text {
            // The trap is heard only where the exec did not happen.
            Text::Command(text) => format!("trap '{} >&2' EXIT\n{text}\n", marker.say("unstarted", "$?")),
            Text::Inline(text) => format!("{text}\n"),
        }
    }

    /// What the server is asked to run, and what it must read first from standard input, once it has said that it is
    /// ready for it.
    ///
    /// A script with environment variables goes through standard input, so that no list of processes ever shows them; so
    /// does a long one, and one with input of its own, which is never read then by something else that a profile runs.
    /// Any other one is part of what is asked for, which saves a round trip: OpenSSH takes input only after that.
    ///
    /// On both streams a line of the marker comes first, so that what a profile prints is not taken for output.
    pub(crate) fn render(&self, marker: &Marker, feed: Feed) -> Rendered {
        let script = self.said(marker);
        let begin = begin(marker);
        if !self.secret && feed != Feed::Bytes {
            let encoded = encode(&script);
            // A profile may have left something else there.
            let nothing = if feed == Feed::Nothing { " < /dev/null" } else { "" };
            let exec = format!(r#"exec sh -c 's=$(printf %b "{encoded}") || exit 1; {begin}'{nothing}"#);
            if exec.len() <= MAX_REQUEST {
                return Rendered { exec, by_input: None };
            }
        }
        Rendered::by_input(marker, &script)
    }
}

/// A script as it is sent.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// What the server is asked to run.
    pub(crate) exec: String,
    /// The script, where it goes through standard input.
    pub(crate) by_input: Option<String>,
}

impl Rendered {
    fn by_input(marker: &Marker, script: &str) -> Self {
        let lines = script.matches('\n').count() + 1;
        Self { exec: waiting(marker), by_input: Some(format!("{lines}\n{script}#{}\n", marker.half())) }
    }
}

/// What the server is asked to run for a shell that reads its script from standard input: how many lines it has, and these.
pub(crate) fn waiting(marker: &Marker) -> String {
    let [ready, unread] = [("ready", "$$"), ("unread", "0")].map(|(word, value)| marker.say(word, value));
    // `read` takes no byte more than its line, so the rest of the input belongs to the script.
    format!(
        r##"exec sh -c '{ready} >&2; N=$(printf "\n_"); N=${{N%_}}; s=; l=; n=; IFS= read -r n; while [ "$n" -gt 0 ] 2> /dev/null; do IFS= read -r l || break; s=$s$l$N; n=$((n-1)); done; if [ "$n" = 0 ] && [ "$l" = "#{half}" ]; then unset N n l; else {unread} >&2; exit 1; fi; {begin}'"##,
        half = marker.half(),
        begin = begin(marker),
    )
}

fn begin(marker: &Marker) -> String {
    let begun = marker.say("begun", "$$");
    format!(r#"{begun}; {begun} >&2; eval "$s""#)
}

/// The longest request to run something. RFC 4253 (section 6.1) lets a server refuse packets above 32,768 bytes, and
/// dropbear ends the connection when a command is longer than 9,000.
const MAX_REQUEST: usize = 8_000;

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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Output, Stdio};

    use bluegreen_core::Secret;

    use super::*;
    use crate::marker::Word;

    /// Runs a script as the server would, under the given login shell; with what it is told apart by.
    fn run(shell: &[&str], script: &Script, input: &str) -> (Output, Marker) {
        let marker = Marker::new();
        let rendered = script.render(&marker, if input.is_empty() { Feed::Nothing } else { Feed::Bytes });
        let mut child = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", &rendered.exec])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(rendered.by_input.unwrap_or_default().as_bytes()).unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        (child.wait_with_output().unwrap(), marker)
    }

    /// What a script wrote after it had begun.
    fn output_of(stream: Vec<u8>, marker: &Marker) -> String {
        let text = String::from_utf8(stream).unwrap();
        let (_, begun) = text.split_once(&format!("\n{marker} begun ")).unwrap_or_else(|| panic!("{text}"));
        begun.split_once('\n').unwrap().1.to_owned()
    }

    /// The shells that are installed here; `sh` always is.
    fn shells() -> Vec<Vec<&'static str>> {
        let all =
            [vec!["sh"], vec!["bash"], vec!["busybox", "sh"], vec!["zsh"], vec!["fish"], vec!["tcsh"], vec!["mksh"]];
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
        let long = "x".repeat(100_000);
        let open = Command::new("sh").args(["-c", "printf '%s|' \"$@\"; cat", "sh", hostile]);
        for shell in shells() {
            let (output, marker) = run(&shell, &script, "line 1\nline 2");
            assert_eq!(
                output_of(output.stdout, &marker),
                format!("{hostile}|{hostile}|/tmp|line 1\nline 2"),
                "{shell:?}"
            );
            assert_eq!(output_of(output.stderr, &marker), "", "{shell:?}");
            for (command, last) in [(open.clone(), ""), (open.clone().arg(&long), &*format!("{long}|"))] {
                for input in ["", "line 1\nline 2"] {
                    let (output, marker) = run(&shell, &Script::command(&command).unwrap(), input);
                    assert_eq!(output_of(output.stdout, &marker), format!("{hostile}|{last}{input}"), "{shell:?}");
                }
            }
        }
    }

    #[test]
    fn no_request_is_longer_than_every_server_takes() {
        for length in (0..4000).step_by(7).chain([20_000, 100_000]) {
            let command = Command::new("x").arg("!".repeat(length));
            let rendered = Script::command(&command).unwrap().render(&Marker::new(), Feed::Nothing);
            assert!(rendered.exec.len() <= MAX_REQUEST, "{}", rendered.exec.len());
            assert!(rendered.by_input.is_some() == (length > 1_500) || (1_000..2_000).contains(&length), "{length}");
        }
    }

    #[test]
    fn a_script_that_does_not_arrive_whole_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("made");
        let command = Command::script(format!("echo > {}", file.display())).env("A", Secret::new("1"));
        let marker = Marker::new();
        let rendered = Script::command(&command).unwrap().render(&marker, Feed::Nothing);
        let whole = rendered.by_input.unwrap();
        let cut = [
            &whole[..0],
            &whole[..whole.len() / 2],
            &whole[..whole.len() - 2],
            &whole[whole.find('\n').unwrap() + 1..],
        ];
        for part in cut {
            let mut child = std::process::Command::new("sh")
                .args(["-c", &rendered.exec])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(part.as_bytes()).unwrap();
            let said = child.wait_with_output().unwrap().stderr;
            let said: Vec<_> = said.split(|byte| *byte == b'\n').filter_map(|line| marker.read(line)).collect();
            assert!(matches!(said[..], [Word::Ready(_), Word::Unread]), "{said:?}");
            assert!(!file.exists());
        }
    }

    #[test]
    fn a_missing_program_or_directory_is_told_apart_from_a_program_that_fails() {
        let missing = [Command::new("no-such-program-here"), Command::new("true").directory("/no/such/directory")];
        for (shell, command) in shells().iter().flat_map(|shell| missing.iter().map(move |command| (shell, command))) {
            let (mut output, marker) = run(shell, &Script::command(command).unwrap(), "");
            assert_eq!(marker.take_unstarted(&mut output.stderr), Some(127), "{shell:?}");
        }
        let (mut output, marker) = run(&["sh"], &Script::command(&Command::script("exit 127")).unwrap(), "");
        assert_eq!((output.status.code(), marker.take_unstarted(&mut output.stderr)), (Some(127), None));
    }

    #[test]
    fn what_is_asked_for_is_the_same_whatever_the_secret() {
        let marker = Marker::new();
        let bootstrap = |secret| {
            let command = Command::new("x").arg("word").env("TOKEN", Secret::new(secret));
            Script::command(&command).unwrap().render(&marker, Feed::Nothing).exec
        };
        assert_eq!(bootstrap("hunter2"), bootstrap("$(x)'\\"));
    }
}
