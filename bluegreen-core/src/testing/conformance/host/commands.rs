use std::time::Duration;

use super::{HostFixture, PATIENCE, Suite, pattern};
use crate::error::ErrorKind;
use crate::host::{Command, Host, Output};
use crate::testing::hostile_words::HOSTILE_WORDS;
use crate::types::Secret;

impl<F: HostFixture> Suite<'_, F> {
    pub(super) async fn commands_get_exactly_what_they_are_given(&self) {
        let c = &self.contract;
        let clause = "the words of a command arrive unchanged, whatever they hold";
        let output =
            self.run(clause, &Command::script(r#"printf '%s\0' "$@""#).args(HOSTILE_WORDS.iter().copied())).await;
        let words: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        c.same(clause, words.split_last().map(|(_, words)| words.to_vec()).unwrap_or_default(), as_cows(HOSTILE_WORDS));

        let clause = "standard input arrives unchanged, and ends";
        let input = pattern(700_000);
        let output = self.run(clause, &Command::new("cat").stdin(input.clone())).await;
        c.holds(clause, output.stdout == input, output.stdout.len());
        let clause = "a command that does not read its input is no failure";
        let output = self.run(clause, &Command::new("true").stdin(input)).await;
        c.holds(clause, output.success(), &output);

        let clause = "environment variables arrive unchanged";
        let mut command = Command::script(r#"for name; do eval "printf '%s\\0' \"\$$name\""; done"#);
        for (number, value) in HOSTILE_WORDS.iter().enumerate() {
            command = command.arg(format!("V{number}")).env(format!("V{number}"), Secret::new(*value));
        }
        let output = self.run(clause, &command).await;
        let values: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        c.same(
            clause,
            values.split_last().map(|(_, values)| values.to_vec()).unwrap_or_default(),
            as_cows(HOSTILE_WORDS),
        );

        let clause = "the working directory is the one that was set";
        let directory = self.path("it's a directory");
        self.fixture.make_directory(&directory).await;
        let output = self.run(clause, &Command::script("echo here > made").directory(directory.as_str())).await;
        c.holds(clause, output.success(), &output);
        c.same(clause, self.content(&format!("{directory}/made")).await, Some(b"here\n".to_vec()));

        let clause = "a word with a NUL cannot be passed on and is a Config error";
        c.refused_unapplied(clause, self.host.run(&Command::new("echo").arg("a\0b")).await, &[ErrorKind::Config]);
        if self.fixture.has_sudo() {
            let clause = "with sudo a command runs as root, and gets its variables";
            let command = Command::script(r#"id -u; printf %s "$TOKEN""#).env("TOKEN", Secret::new("a 'b'")).sudo(true);
            c.same(clause, self.run(clause, &command).await.text(), "0\na 'b'".to_owned());
        }
    }

    pub(super) async fn commands_tell_how_they_ended(&self) {
        let c = &self.contract;
        let clause = "a non-zero exit status is an answer, and both streams come back apart";
        let output = self.run(clause, &Command::script("echo out; echo error >&2; exit 7")).await;
        c.same(clause, (output.status, output.text(), output.error_text()), (Some(7), "out".into(), "error".into()));
        c.same(clause, output.signal, None);
        let clause = "a command that a signal ended has no exit status, or that of a shell, but not 0";
        let output = self.run(clause, &Command::script("kill -KILL $$")).await;
        c.holds(clause, output.status.is_none_or(|status| status == 128 + 9), &output);

        let clause = "a program that does not exist is NotFound, and changed nothing";
        let missing = self.host.run(&Command::new("no-such-program-anywhere")).await;
        self.names_the_host(&c.refused_unapplied(clause, missing, &[ErrorKind::NotFound]));

        let clause = "of a long output the end is kept";
        let output = self.run(clause, &Command::script("seq 1 300000; echo end").output_limit(10)).await;
        c.same(clause, String::from_utf8_lossy(&output.stdout).into_owned(), "00000\nend\n".to_owned());
        let output = self.run(clause, &Command::script("seq 1 300000 >&2").output_limit(4)).await;
        c.same(clause, String::from_utf8_lossy(&output.stderr).into_owned(), "000\n".to_owned());
        let clause = "an output within the limit comes back whole";
        let output = self.run(clause, &Command::script("head -c 900000 /dev/zero")).await;
        c.same(clause, output.stdout.len(), 900_000);

        let clause = "commands run side by side";
        let place = self.path("meeting");
        self.fixture.make_directory(&place).await;
        // Each ends when it sees the others.
        let meet = r#": > "$1/$2"; until [ "$(ls "$1" | wc -l)" -ge 5 ]; do sleep 0.05; done; echo "$2""#;
        let meeting = (0..5).map(|number| {
            let command = Command::script(meet).arg(place.as_str()).arg(number.to_string()).timeout(PATIENCE);
            async move { self.run(clause, &command).await.text() }
        });
        let echoed = futures::future::join_all(meeting).await;
        c.same(clause, echoed, (0..5).map(|number| number.to_string()).collect());
    }

    pub(super) async fn commands_are_ended_when_their_time_is_over(&self) {
        let c = &self.contract;
        let clause = "a command that takes too long is ended, and is a Timeout";
        let (marker, go) = (self.path("written-too-late"), self.path("go"));
        // It goes on when it is told to, or after ten seconds.
        let late = r#"n=0; until [ -e "$2" ] || [ $n = 200 ]; do sleep 0.05; n=$((n + 1)); done; echo late > "$1""#;
        let late = Command::script(late).arg(marker.as_str()).arg(go.as_str());
        let result = self.host.run(&late.timeout(Duration::from_millis(500))).await;
        self.names_the_host(&c.refused(clause, result, &[ErrorKind::Timeout]));
        self.fixture.put(&go, b"").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        c.same(clause, self.content(&marker).await, None);
        let clause = "after a command was cut off the host works as before";
        for cut_off in self.fixture.cut_offs() {
            let _ = cut_off.run(self.host.run(&Command::new("sleep").arg("0.2"))).await;
            c.same(clause, self.run(clause, &Command::new("echo").arg("well")).await.text(), "well".to_owned());
        }
    }

    pub(super) async fn secrets_are_not_in_the_process_list(&self) {
        let clause = "values of the environment are not seen in a process list";
        let secret = "hunter2-in-the-environment";
        let list = r#"test -n "$TOKEN" && cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' '; ps -eo args 2>/dev/null"#;
        let output = self.run(clause, &Command::script(list).env("TOKEN", Secret::new(secret))).await;
        self.contract.holds(clause, !output.text().contains(secret), "the secret itself");
    }

    async fn run(&self, clause: &str, command: &Command) -> Output {
        self.contract.ok(clause, self.host.run(command).await)
    }
}

fn as_cows<'a>(words: &[&'a str]) -> Vec<std::borrow::Cow<'a, str>> {
    words.iter().map(|word| std::borrow::Cow::Borrowed(*word)).collect()
}
