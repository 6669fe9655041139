//! Login profiles that print, trace, read, redirect, or run something else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_core::{Command, Effect, Host, Output, Secret};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::patience::eventually;
use bluegreen_testkit::ssh::Sshd;
use futures::future::join_all;
use tempfile::TempDir;

use crate::reach::Reach;

/// A server whose login shell is bash with this `~/.bashrc`.
struct Login {
    sshd: Sshd,
    home: TempDir,
}

impl Login {
    fn with(bashrc: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".bashrc"), format!("{bashrc}\n")).unwrap();
        Self { sshd: Sshd::with(&format!("SetEnv SHLVL=0 HOME={}", home.path().display())), home }
    }

    fn host(&self) -> SshHost {
        self.sshd.builder().connect_timeout(Duration::from_secs(3)).build().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

const SECRET: &str = "hunter2-in-the-environment";

/// The same command in the ways in which it can go to the server: plainly, with a variable, with input, and long.
fn commands(login: &Login) -> Vec<(PathBuf, Command, &'static str)> {
    let made = |name: &str| login.path(&format!("made-{name}"));
    let command =
        |file: &Path| Command::script("cat > \"$1\"; echo done; echo error >&2").arg(file.display().to_string());
    let [plain, secret, input, long] = ["plain", "secret", "input", "long"].map(made);
    vec![
        (plain.clone(), command(&plain), ""),
        (secret.clone(), command(&secret).env("TOKEN", Secret::new(SECRET)), ""),
        (input.clone(), command(&input).stdin("line 1\nline 2\n"), "line 1\nline 2\n"),
        (long.clone(), command(&long).arg("x".repeat(20_000)), ""),
    ]
}

fn is_whole(output: &Output) -> bool {
    output.status == Some(0) && output.text() == "done" && output.error_text().ends_with("error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_profile_makes_a_command_look_as_if_it_had_run_or_had_not() {
    needs_sshd!();
    let profiles = [
        "exec cat",
        "cat",
        "exec zsh",
        "exec sh",
        "exec > ~/redirected 2>&1",
        "exec > ~/redirected",
        "exec 2> ~/redirected",
        "exec 2>&1",
        "exec < /dev/null",
        "exec < /etc/passwd",
        "read line",
        "read line; read line; read line",
        "exit 0",
        "exec false",
    ];
    join_all(profiles.map(|profile| async move {
        let login = Login::with(profile);
        let host = login.host();
        for (file, command, input) in commands(&login) {
            let what = format!("{profile}: {}", file.display());
            match host.run(&command).await {
                Ok(output) => {
                    assert!(is_whole(&output), "{what}: {output:?}");
                    assert_eq!(fs::read_to_string(&file).unwrap(), input, "{what}");
                }
                Err(error) => {
                    eventually("the command has ended", async || login.sshd.commands().is_empty()).await;
                    assert!(error.effect() != Effect::NotApplied || !file.exists(), "{what}: {}", error.chain());
                    assert!(!format!("{error:?} {}", error.chain()).contains(SECRET), "{what}");
                    assert!(error.hint().is_some(), "{what}: {error}");
                }
            }
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_files_work_beside_whatever_a_profile_prints_or_traces() {
    needs_sshd!();
    let profiles = [
        "set -x",
        "set -xv",
        "export SHELLOPTS; set -x",
        "export PS4='+ $BASH_COMMAND '; set -x",
        "echo Welcome; echo Mind the gap >&2",
        "printf 'no newline'; printf 'no newline' >&2",
        "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
        "trap 'echo Goodbye' EXIT",
        "printf() { echo mine; }; export -f printf; alias exec=echo",
        "export ENV=/etc/passwd BASH_ENV=/etc/passwd",
        "sleep 0.3",
        "sleep 600 > /dev/null 2>&1 < /dev/null &",
    ];
    join_all(profiles.map(|profile| async move {
        let login = Login::with(profile);
        let host = login.sshd.host();
        for (file, command, input) in commands(&login) {
            let output = host.run(&command).await.unwrap_or_else(|error| panic!("{profile}: {}", error.chain()));
            assert!(is_whole(&output), "{profile}: {output:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), input, "{profile}");
        }
        let file = login.path("written").display().to_string();
        host.write(&file, b"new", 0o600).await.unwrap();
        assert_eq!(host.read(&file).await.unwrap().as_deref(), Some(b"new".as_slice()), "{profile}");
        let missing = host.run(&Command::new("no-such-program-here")).await.unwrap_err();
        assert_eq!(missing.effect(), Effect::NotApplied, "{profile}: {missing}");
    }))
    .await;
}
