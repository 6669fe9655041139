//! This machine, seen through a host that notes what it is given, and may change the environment.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bluegreen_core::{Command, Host, LocalHost, Output, Progress, Result, Secret, Tunnel};

/// Cheap to clone; clones share what was noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct NotingHost {
    environment: Vec<(String, String)>,
    /// A socket that stands for the engine's.
    engine_socket: Option<String>,
    noted: Arc<Mutex<Vec<String>>>,
}

impl NotingHost {
    /// Sets a variable in the environment of all commands.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Every tunnel leads to this socket.
    pub(crate) fn tunnelling_to(mut self, socket: &Path) -> Self {
        self.engine_socket = Some(socket.to_str().unwrap().to_owned());
        self
    }

    /// The words and the input of every command, and every file that was written.
    pub(crate) fn noted(&self) -> Vec<String> {
        self.noted.lock().unwrap().clone()
    }

    fn note(&self, text: String) {
        self.noted.lock().unwrap().push(text);
    }
}

impl std::fmt::Display for NotingHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this machine")
    }
}

#[async_trait]
impl Host for NotingHost {
    async fn run(&self, command: &Command) -> Result<Output> {
        self.note(format!("{} < {}", command.words()?.join(" "), String::from_utf8_lossy(command.input())));
        let mut command = command.clone();
        for (name, value) in &self.environment {
            if !command.variables().contains_key(name) {
                command = command.env(name, Secret::new(value));
            }
        }
        LocalHost::new().run(&command).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        LocalHost::new().read(path).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.note(format!("write {path}: {}", String::from_utf8_lossy(contents)));
        LocalHost::new().write(path, contents, mode).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        LocalHost::new().upload(local, remote, progress).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        LocalHost::new().download(remote, local, progress).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        LocalHost::new().symlink(target, link).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        match &self.engine_socket {
            Some(socket) => Ok(Tunnel::direct(format!("unix:{socket}"))),
            None => LocalHost::new().tunnel(address).await,
        }
    }
}
