//! [`SshHost`]: a [`Host`] on the other end of one SSH connection.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{Command, Error, Host, Output, Progress, Result, Tunnel};
use tokio::sync::Mutex;

use crate::builder::SshHostBuilder;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::process::Process;
use crate::script::Script;
use crate::settings::Settings;
use crate::{console, files, run, ssh_config, transfer, tunnel};

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
    link: Arc<Link>,
}

impl SshHost {
    /// A server given as `[user@]host[:port]`. What is not said is what `ssh` would take, but `~/.ssh/config` is not
    /// read: see [`from_ssh_config`](Self::from_ssh_config).
    pub fn builder(destination: impl Into<String>) -> SshHostBuilder {
        SshHostBuilder::new(destination.into())
    }

    /// A server as `~/.ssh/config` describes it, under the name that one gives to `ssh`. Without such a file, it is the
    /// server of that name.
    ///
    /// # Errors
    /// See [`from_ssh_config_file`](Self::from_ssh_config_file).
    pub fn from_ssh_config(name: &str) -> Result<SshHostBuilder> {
        ssh_config::read_own(name)
    }

    /// A server as an OpenSSH client configuration file describes it.
    ///
    /// Understood are `Host`, `Include`, `HostName`, `User`, `Port`, `IdentityFile`, `IdentitiesOnly`,
    /// `IdentityAgent`, `CertificateFile`, `HostKeyAlias`, `UserKnownHostsFile`, `ProxyJump`, `ConnectTimeout`,
    /// and the tokens `%%`, `%h`, `%p`, `%r`, `%u`, `%d` in them.
    ///
    /// # Errors
    /// `NotFound` when there is no such file. `Config` when it cannot be read as such a file; when it says something for
    /// this host that would change where or as whom the connection is made, and is not understood: `ProxyCommand`, and
    /// others that the error names; and, for whichever host, when it or a file that it includes has a `Match` block, or
    /// one of the settings above twice in one block, of which `ssh` takes the first. Settings without such an effect are
    /// ignored.
    pub fn from_ssh_config_file(file: impl AsRef<Path>, name: &str) -> Result<SshHostBuilder> {
        ssh_config::read(file.as_ref(), name)
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self { link: Arc::new(Link { settings, connection: Mutex::default() }) }
    }

    /// Connects now, so that a wrong key or address is found before anything else is done.
    ///
    /// # Errors
    /// `Unauthorized` when the host key is not the right one, or the server accepts none of our keys; `Unreachable`
    /// and `Timeout` when there is no connection. Nothing has been changed then.
    pub async fn connect(&self) -> Result<()> {
        self.link.connection().await.map(drop)
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
        let done = console::run(&self.link, terminal, command).await;
        self.located(done, || format!("run {command} on a terminal"))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.link.settings
    }

    fn located<T>(&self, result: Result<T>, what: impl FnOnce() -> String) -> Result<T> {
        result.map_err(|error| error.trying(what()).with("host", self))
    }
}

/// `user@host`, with the port where it is not 22.
impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.settings.fmt(f)
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
        self.located(run::command(&self.link, command).await, || format!("run {command}"))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let done = self.link.again_when_lost(|| files::read(&self.link, path)).await;
        self.located(done, || format!("read {path}"))
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        let done = self.link.again_when_lost(|| files::write(&self.link, path, contents, mode)).await;
        self.located(done, || format!("write {path}"))
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        let done = self.link.again_when_lost(|| transfer::upload(&self.link, local, remote, progress)).await;
        self.located(done, || format!("upload {} to {remote}", local.display()))
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        let done = self.link.again_when_lost(|| transfer::download(&self.link, remote, local, progress)).await;
        self.located(done, || format!("download {remote} to {}", local.display()))
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        let done = self.link.again_when_lost(|| files::symlink(&self.link, target, link)).await;
        self.located(done, || format!("point {link} to {target}"))
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        let done = tunnel::open(&self.link, address).await;
        self.located(done, || format!("open a tunnel to {address}"))
    }
}

/// The connection to one server, made anew when it is gone.
pub(crate) struct Link {
    pub(crate) settings: Settings,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    /// The connection. Callers at the same time wait for the same one.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(open) if !open.is_closed() => Ok(Arc::clone(open)),
            _ => {
                let open = Arc::new(Connection::open(&self.settings).await?);
                *connection = Some(Arc::clone(&open));
                Ok(open)
            }
        }
    }

    /// Starts a script, over a new connection if the old one turns out to be gone.
    ///
    /// # Errors
    /// The script has not been run then.
    pub(crate) async fn start(&self, script: &Script) -> Result<Process> {
        let first = match Process::start(&self.connection().await?, script).await {
            Err(failure) if failure.is_lost() => Process::start(&self.connection().await?, script).await,
            outcome => outcome,
        };
        first.map_err(|failure: Failure| Error::from(failure).not_applied())
    }

    /// Does something that may be repeated, once more if the connection was lost meanwhile.
    async fn again_when_lost<T, F: Future<Output = Result<T>>>(&self, mut work: impl FnMut() -> F) -> Result<T> {
        match work().await {
            Err(error) if error.kind() == bluegreen_core::ErrorKind::Unreachable && self.is_lost().await => {
                tracing::info!(host = %self.settings, error = %error.chain(), "connecting anew");
                work().await
            }
            outcome => outcome,
        }
    }

    async fn is_lost(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|connection| connection.is_closed())
    }
}
