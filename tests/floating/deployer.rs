//! The tool as a process in the client's namespace.

use std::process::{Command, Output, Stdio};

use bluegreen_testkit::fakes::TOKEN;
use tokio::task::JoinHandle;

use crate::world::World;

/// How one call of the tool ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) signal: Option<i32>,
    pub(crate) text: String,
}

impl World {
    /// Runs the tool; it must succeed.
    pub(crate) async fn run(&self, words: &[&str]) -> String {
        let said = self.try_run(words).await;
        assert!(said.success, "{words:?}: {}", said.text);
        said.text
    }

    pub(crate) async fn try_run(&self, words: &[&str]) -> Said {
        self.begin(words).1.await.unwrap()
    }

    /// Runs the tool; the pid is its own.
    pub(crate) fn begin(&self, words: &[&str]) -> (u32, JoinHandle<Said>) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.network().client.name(), env!("CARGO_BIN_EXE_floating-deployer")]);
        command.arg("--settings").arg(self.settings()).args(["--provider", self.variant().flag()]).args(words);
        command.env("DIGITALOCEAN_TOKEN", TOKEN).env("HCLOUD_TOKEN", TOKEN).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        (child.id(), tokio::task::spawn_blocking(move || Said::of(&child.wait_with_output().unwrap())))
    }
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = [output.stderr.as_slice(), &output.stdout].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(TOKEN), "the token is seen");
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        Self { success: output.status.success(), signal, text }
    }
}
