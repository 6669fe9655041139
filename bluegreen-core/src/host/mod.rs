//! [`Host`]: where commands run and files live. [`LocalHost`] is this machine.

mod command;
mod local;
mod quote;
mod script;
mod setup;
mod tunnel;

use std::fmt::{Debug, Display};
use std::path::Path;

use async_trait::async_trait;
use auto_impl::auto_impl;

use crate::error::Result;
use crate::types::Progress;

pub(crate) use command::LINES_IN_ERROR;
pub use command::{Command, DEFAULT_OUTPUT_LIMIT, DEFAULT_TIMEOUT, Output, check_variable_name};
pub use local::LocalHost;
pub use quote::{quote, quote_all};
pub use script::{LOCK_WAIT, Reply, Script};
pub use setup::SetupScript;
pub use tunnel::{Tunnel, TunnelFailures};

/// A machine on which adapters act.
///
/// Paths are absolute, or relative to the directory that a login of the host's user begins in.
///
/// # Contract
///
/// - A command is given as its words; nobody but the host quotes, and it does so once.
/// - Files are replaced whole: a reader sees the old content or the new one.
/// - Every method can be cut off at any await. Files half written are not seen under their name; whether a command
///   that was cut off did anything is unknown.
/// - Errors name the host.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Host: Debug + Display + Send + Sync + 'static {
    /// Runs a command to its end. A non-zero exit status is not an error here: see [`Output::success`] and
    /// [`Output::ok`].
    ///
    /// # Errors
    /// `NotFound` when there is no such program; `Timeout` when its time was over (the command is ended then);
    /// `Unreachable` when the host is.
    async fn run(&self, command: &Command) -> Result<Output>;

    /// The content of a file; `None` when there is none.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Replaces a file, durably and with this mode from its first moment on. Its directory must exist.
    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()>;

    /// Copies a local file to the host: streamed, its checksum verified there, and in place only when it is whole.
    /// Nothing is sent when the same content is there already. Its directory must exist.
    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()>;

    /// Copies a file of the host to this machine: streamed, verified, and in place only when it is whole.
    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()>;

    /// Makes `link` point to `target` in one atomic step; an existing link is replaced by rename.
    async fn symlink(&self, target: &str, link: &str) -> Result<()>;

    /// A local address that reaches `address` as seen from the host, for as long as the [`Tunnel`] lives.
    ///
    /// It is `host:port` for a TCP server, and `unix:/path` for a socket in the file system, and the tunnel's address is
    /// of the same form. The local socket of a tunnel to a socket can be reached by this user alone.
    async fn tunnel(&self, address: &str) -> Result<Tunnel>;
}
