//! Starting a process that outlives us, and writing down how it ended.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bluegreen_core::{Error, ErrorKind, Result};
use process_wrap::std::{CommandWrap, ProcessSession};

use super::procfs::Process;
use super::template::CommandLine;

/// Who starts a process learns its exit status, but only while it lives itself. So the parent is a small shell, which
/// lives as long as the service does: it runs the words after `$0`, and writes the exit status to the file `$0`. Only
/// builtins are used, so it works with any `PATH`. Signals that reach the whole group are for the service: the shell
/// catches them (a handler, unlike ignoring, is not passed on to the service).
const SUPERVISOR: &str = "trap : HUP INT QUIT TERM; \"$@\"; s=$?; printf '%s\\n' \"$s\" >\"$0\"; exit \"$s\"";

/// Starts a command in a session of its own, so that neither the death of this process nor a Ctrl-C in its terminal
/// reaches it. Returns the session's leader.
pub(super) fn start(
    command: &CommandLine,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    log: &Path,
    exit_file: &Path,
) -> Result<Process> {
    let failed = |error: std::io::Error| {
        Error::from(error).not_applied().with_operation("start the process").with("program", command.program.display())
    };
    let output = open_log(log)?;
    let errors = output.try_clone().map_err(failed)?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(SUPERVISOR).arg(exit_file).arg(&command.program).args(&command.args);
    shell.env_clear().envs(environment).stdin(Stdio::null()).stdout(output).stderr(errors);
    if let Some(directory) = &command.directory {
        shell.current_dir(directory);
    }
    let mut child = CommandWrap::from(shell).wrap(ProcessSession).spawn().map_err(failed)?;
    // Nobody has waited for it yet, so its pid is still its own, even if it has ended already.
    let process = Process::of(child.id());
    // A thread, not a task: it has to reap the child whatever becomes of the async runtime.
    let reaper = std::thread::Builder::new().name("reaper".to_owned()).stack_size(128 << 10);
    reaper.spawn(move || child.wait()).map_err(|error| failed(error).maybe_applied())?;
    process.ok_or_else(|| Error::new(ErrorKind::Unexpected, "the process that was just started is not in /proc"))
}

/// Opens a log to append to, for the owner alone.
pub(super) fn open_log(path: &Path) -> Result<File> {
    let open = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    open.map_err(|error| Error::from(error).not_applied().with_operation("open the log").with("path", path.display()))
}

/// An exit status as a shell reports it, in words.
pub(super) fn in_words(status: i32) -> String {
    match status {
        126 => "exit status 126 (the program could not be run)".to_owned(),
        127 => "exit status 127 (the program was not found)".to_owned(),
        129..=192 => format!("exit status {status} (signal {})", status - 128),
        _ => format!("exit status {status}"),
    }
}
