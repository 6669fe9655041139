//! Processes that a test starts.

use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::patience::comes;
use crate::pids::send;

/// A process that is killed when this is dropped.
pub struct Killed(Child);

impl Killed {
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Deref for Killed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Killed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks a process to end, so that it takes its own with it, and kills it when it does not.
pub fn terminate(child: &mut Child) {
    send(child.id().cast_signed(), Signal::TERM);
    if !comes(Duration::from_secs(5), || !child.try_wait().is_ok_and(|status| status.is_none())) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// Runs a command that must succeed, and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether there is a program that takes these words: a part that a test needs.
pub fn answers(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// The user that the tests run as.
pub fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}
