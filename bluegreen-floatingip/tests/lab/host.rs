use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bluegreen_core::{Command, Error, ErrorKind, Host, LocalHost, Output, Progress, Result, Tunnel};

/// This machine, as seen from a network namespace.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceHost {
    namespace: String,
    local: LocalHost,
    outage: Option<Outage>,
    /// What each command is run by.
    by: Vec<String>,
}

/// Commands that fail as if the host could not be reached, counted over all hosts that share it.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    count: Arc<AtomicUsize>,
    failing: Range<usize>,
    /// Whether the command is run before the connection is lost.
    applied: bool,
}

impl Outage {
    pub(crate) fn of(failing: Range<usize>, applied: bool) -> Self {
        Self { count: Arc::default(), failing, applied }
    }

    /// How many commands were run so far.
    pub(crate) fn commands(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl NamespaceHost {
    pub(crate) fn of(namespace: &super::Namespace) -> Self {
        Self { namespace: namespace.name().to_owned(), local: LocalHost::new(), outage: None, by: Vec::new() }
    }

    pub(crate) fn with(mut self, outage: &Outage) -> Self {
        self.outage = Some(outage.clone());
        self
    }

    /// Runs each command by these words: as another account, or after something else.
    pub(crate) fn by(mut self, words: &[&str]) -> Self {
        self.by = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }
}

impl fmt::Display for NamespaceHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {}", self.namespace)
    }
}

#[async_trait]
impl Host for NamespaceHost {
    async fn run(&self, command: &Command) -> Result<Output> {
        let inside = Command::new("ip").args(["netns", "exec", &self.namespace]).args(&self.by).args(command.words()?);
        let inside = inside.stdin(command.input()).timeout(command.time_limit()).output_limit(command.kept_output());
        let Some(outage) = &self.outage else { return self.local.run(&inside).await };
        let fails = outage.failing.contains(&outage.count.fetch_add(1, Ordering::Relaxed));
        if !fails || outage.applied {
            let output = self.local.run(&inside).await?;
            if !fails {
                return Ok(output);
            }
        }
        Err(Error::new(ErrorKind::Unreachable, "no route to host"))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.local.read(path).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.local.write(path, contents, mode).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        self.local.upload(local, remote, progress).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        self.local.download(remote, local, progress).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        self.local.symlink(target, link).await
    }

    async fn tunnel(&self, _address: &str) -> Result<Tunnel> {
        Err(Error::new(ErrorKind::Unsupported, "no tunnel into a namespace"))
    }
}
