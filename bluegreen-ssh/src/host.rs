//! [`SshHost`]: a [`Host`] on the other end of one SSH connection.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{Command, Host, Output, Progress, Result, Tunnel};

use crate::session::Session;
use crate::settings::Settings;
use crate::{console, files, run, transfer, tunnel};

/// A server that is reached by SSH. Cheap to clone; all clones share one connection.
///
/// The connection is made when it is first needed, or by [`connect`](Self::connect), and made anew when it has been
/// lost. What is idempotent (reading, writing, links, uploads, downloads, tunnels) then goes on by itself, once. A
/// command that was under way is an error with [`Effect::Unknown`](bluegreen_core::Effect::Unknown): nobody can tell
/// what it did. It is not ended: it goes on, with its input at its end, until it is done, or until it prints, which ends
/// it by SIGPIPE unless it ignores that. What must not run twice at the same time takes a lock (`flock`) on the server.
///
/// The server needs an account with a POSIX `sh`, and the coreutils of Linux (also those of busybox). It needs neither
/// SFTP nor `AcceptEnv`.
///
/// ```no_run
/// use bluegreen_core::{Command, Host};
/// use bluegreen_ssh::SshHost;
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let host = SshHost::builder("deploy@web1.example.com").build()?;
/// let command = Command::new("uname").arg("-r");
/// println!("{}", host.run(&command).await?.ok(&command, &host)?.text());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SshHost {
    session: Arc<Session>,
}

impl SshHost {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { session: Arc::new(Session::new(settings)) }
    }

    /// Connects now, so that a wrong key or address is found before anything else is done.
    ///
    /// # Errors
    /// `Unauthorized` when the host key is not the right one, or the server accepts none of our keys; `Unreachable`
    /// and `Timeout` when there is no connection. Nothing has been changed then.
    pub async fn connect(&self) -> Result<()> {
        self.session.connection().await.map(drop)
    }

    /// Runs a command on a terminal of the server that is connected to ours, as `ssh -t` does: for consoles and shells.
    ///
    /// The terminal is in raw mode for as long as the command runs, and its size follows the window. The returned
    /// output holds how the command ended; what it printed went to the terminal. The time limit of the command does
    /// not count.
    ///
    /// # Errors
    /// `Config` when this process has no terminal; else as [`Host::run`].
    pub async fn console(&self, command: &Command) -> Result<Output> {
        self.console_on(Path::new("/dev/tty"), command).await
    }

    /// As [`console`](Self::console), on the terminal with this device file.
    ///
    /// # Errors
    /// As [`console`](Self::console).
    pub async fn console_on(&self, terminal: &Path, command: &Command) -> Result<Output> {
        let done = console::run(&self.session, terminal, command).await;
        self.located(done, || format!("run {command} on a terminal"))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.session.settings
    }

    fn located<T>(&self, result: Result<T>, what: impl FnOnce() -> String) -> Result<T> {
        result.map_err(|error| error.with_operation(what()).with("host", self))
    }
}

/// `user@host`, with the port where it is not 22.
impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.settings.fmt(f)
    }
}

impl fmt::Debug for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshHost({self})")
    }
}

#[async_trait]
impl Host for SshHost {
    async fn run(&self, command: &Command) -> Result<Output> {
        self.located(run::command(&self.session, command).await, || format!("run {command}"))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let done = self.session.again_when_lost(|| files::read(&self.session, path)).await;
        self.located(done, || format!("read {path}"))
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        let done = self.session.again_when_lost(|| files::write(&self.session, path, contents, mode)).await;
        self.located(done, || format!("write {path}"))
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        let done = self.session.again_when_lost(|| transfer::upload(&self.session, local, remote, progress)).await;
        self.located(done, || format!("upload {} to {remote}", local.display()))
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        let done = self.session.again_when_lost(|| transfer::download(&self.session, remote, local, progress)).await;
        self.located(done, || format!("download {remote} to {}", local.display()))
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        let done = self.session.again_when_lost(|| files::symlink(&self.session, target, link)).await;
        self.located(done, || format!("point {link} to {target}"))
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        let done = tunnel::open(&self.session, address).await;
        self.located(done, || format!("open a tunnel to {address}"))
    }
}
