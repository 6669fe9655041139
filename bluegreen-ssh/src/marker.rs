//! The words by which our part of a script tells itself from everything that others print.

use std::fmt;

/// A word that occurs in no output by chance, and not in what is sent either.
///
/// It is sent in two halves, and only [`say`](Self::say) puts them together: a shell that echoes or traces what it is
/// given prints the halves apart.
#[derive(Debug, Clone)]
pub(crate) struct Marker {
    halves: [String; 2],
}

/// What a line of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Our shell runs in the process with this id, and waits for the script.
    Ready(u32),
    /// It has the whole script, and begins.
    Begun(u32),
    /// The script did not arrive as it was sent, and was not run.
    Unread,
    /// The shell could not replace itself by the program; with its status.
    Unstarted(i32),
}

impl Marker {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let half = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Self { halves: [format!("bluegreen-{}", half()), half()] }
    }

    /// The part of it that no shell of ours prints; for a comment at the end of a script.
    pub(crate) fn half(&self) -> &str {
        &self.halves[1]
    }

    /// A shell command that prints a word on a line of its own, whatever stood on the line before. It holds neither a
    /// quote other than `"` nor a `!`, for the sake of every login shell.
    pub(crate) fn say(&self, word: &str, value: &str) -> String {
        let [first, second] = &self.halves;
        format!(r#"printf "\n%s%s %s %s\n" {first} {second} {word} {value}"#)
    }

    /// What a line says, given without its newline.
    pub(crate) fn read(&self, line: &[u8]) -> Option<Word> {
        let [first, second] = &self.halves;
        let line = std::str::from_utf8(line).ok()?;
        let rest = line.strip_prefix(first.as_str())?.strip_prefix(second.as_str())?.strip_prefix(' ')?;
        match rest.split_once(' ')? {
            ("ready", pid) => Some(Word::Ready(pid.parse().ok()?)),
            ("begun", pid) => Some(Word::Begun(pid.parse().ok()?)),
            ("unread", "0") => Some(Word::Unread),
            ("unstarted", status) => Some(Word::Unstarted(status.parse().ok()?)),
            _ => None,
        }
    }

    /// Takes the line about a program that could not be started from the end of an output, and returns its status.
    pub(crate) fn take_unstarted(&self, output: &mut Vec<u8>) -> Option<i32> {
        let text = output.strip_suffix(b"\n")?;
        let newline = text.iter().rposition(|byte| *byte == b'\n')?;
        let Word::Unstarted(status) = self.read(&text[newline + 1..])? else { return None };
        output.truncate(newline);
        Some(status)
    }
}

/// How long a line of ours is, at most, with the newlines around it.
pub(crate) const LONGEST: usize = 80;

/// The whole word, as our lines begin.
impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.halves.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_does_not_say_what_it_makes_a_shell_say() {
        let marker = Marker::new();
        let command = marker.say("begun", "42");
        assert!(!command.contains(&marker.to_string()));
        let output = std::process::Command::new("sh").args(["-xc", &command]).output().unwrap();
        let said: Vec<_> = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| marker.read(line)).collect();
        assert_eq!(said, [Word::Begun(42)]);
        let traced = String::from_utf8(output.stderr).unwrap();
        assert!(traced.contains(marker.half()) && !traced.contains(&marker.to_string()), "{traced}");
    }

    #[test]
    fn only_a_whole_line_at_the_very_end_is_a_verdict() {
        let marker = Marker::new();
        for (stderr, left, status) in [
            ("sh: not found\n\nMARK unstarted 127\n", "sh: not found\n", Some(127)),
            ("no newline\nMARK unstarted 126\n", "no newline", Some(126)),
            ("\nMARK unstarted 127\nmore\n", "\nMARK unstarted 127\nmore\n", None),
            ("\n+ MARK unstarted 127\n", "\n+ MARK unstarted 127\n", None),
            ("\nMARK begun 127\n", "\nMARK begun 127\n", None),
            ("\nMARK unstarted x\n", "\nMARK unstarted x\n", None),
            ("", "", None),
        ] {
            let [stderr, left] = [stderr, left].map(|text| text.replace("MARK", &marker.to_string()));
            let mut bytes = stderr.into_bytes();
            assert_eq!(marker.take_unstarted(&mut bytes), status);
            assert_eq!(String::from_utf8(bytes).unwrap(), left);
        }
    }
}
