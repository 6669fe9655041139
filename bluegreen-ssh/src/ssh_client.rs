//! The settings of a host as `ssh -G` prints them: OpenSSH reads its own configuration.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use bluegreen_core::{Error, Result};
use tokio::process::Command;

use crate::destination::Destination;

/// A `Match exec` runs programs, which may hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Stands before the configured identity files, because `ssh` prints its default ones only where there are none.
const NO_DEFAULTS: &str = "no-default-identity-files";

/// One `keyword value` per line.
pub(crate) struct ClientSettings(String);

impl ClientSettings {
    /// What a configuration file says of a host.
    ///
    /// # Errors
    /// `Config` when there is no `ssh`, or when it refuses the file; `Timeout` when it does not end.
    pub(crate) fn read(file: &Path, asked: &Destination) -> Result<Self> {
        let mut command = Command::new("ssh");
        // A relative file named `none` would stand for no file.
        command.args(["-G", "-T", "-F"]).arg(std::path::absolute(file)?);
        command.args(["-o", &format!("IdentityFile={NO_DEFAULTS}")]);
        if let Some(user) = &asked.user {
            command.args(["-l", user]);
        }
        if let Some(port) = asked.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", &asked.host]).stdin(Stdio::null()).kill_on_drop(true);
        let output = output(command, TIMEOUT).map_err(failed)?;
        if output.status.success() {
            return Ok(Self(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let reasons: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Err(Error::config(format!("ssh gives no settings for this host: {}", reasons.join("; ")))
            .with_hint("correct what it names: `ssh -G -F` with this file and host must succeed"))
    }

    pub(crate) fn get(&self, keyword: &str) -> Option<&str> {
        self.all(keyword).next()
    }

    pub(crate) fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(' '));
        lines.filter(move |(key, _)| *key == keyword).map(|(_, value)| value)
    }

    /// Those that the configuration names; `none` may be among them.
    pub(crate) fn identity_files(&self) -> Vec<&str> {
        self.all("identityfile").filter(|file| *file != NO_DEFAULTS).collect()
    }

    /// Several paths, which `ssh` prints without quotes: a part that is no absolute path continues the one before.
    pub(crate) fn paths(&self, keyword: &str) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for part in self.get(keyword).into_iter().flat_map(|value| value.split(' ')) {
            match paths.last_mut() {
                Some(path) if !part.starts_with('/') => *path += &format!(" {part}"),
                _ => paths.push(part.to_owned()),
            }
        }
        paths
    }
}

/// On a thread of its own: the caller, which does not await, may be inside a runtime.
fn output(mut command: Command, timeout: Duration) -> io::Result<Output> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(timeout, command.output()).await? })
    };
    std::thread::spawn(run).join().unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))
}

fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::config("there is no ssh program, which reads its configuration").with_hint(
            "install the OpenSSH client (openssh-client), or describe the host with SshHost::builder, which needs none",
        ),
        _ => Error::from(error).not_applied().with_operation("run ssh -G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\"; exec sleep 60"]).arg(&pid).kill_on_drop(true);
        let error = failed(output(command, Duration::from_millis(500)).unwrap_err());
        assert_eq!(error.kind(), bluegreen_core::ErrorKind::Timeout, "{error}");
        let line = format!("/proc/{}/cmdline", std::fs::read_to_string(pid).unwrap().trim());
        // That of a process that has ended is empty until it is waited for.
        let runs = || std::fs::read(&line).is_ok_and(|line| !line.is_empty());
        for _ in 0..100 {
            if !runs() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it runs on");
    }

    #[test]
    fn a_path_may_hold_blanks() {
        let settings = ClientSettings("x /a b  c /d\ny rel ative\n".to_owned());
        assert_eq!(settings.paths("x"), ["/a b  c", "/d"]);
        assert_eq!(settings.paths("y"), ["rel ative"]);
    }
}
