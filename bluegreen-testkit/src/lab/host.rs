use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bluegreen_core::{Command, Error, ErrorKind, Host, LocalHost, Output, Result, Tunnel};

use crate::host::Shell;
use crate::host_with_local_files;

/// This machine, as seen from a network namespace.
#[derive(Debug, Clone)]
pub struct NamespaceHost {
    namespace: String,
    local: LocalHost,
    outage: Option<Outage>,
    /// What each command is run by.
    by: Vec<String>,
}

/// Commands that fail as if the host could not be reached, counted over all hosts that share it.
#[derive(Debug, Clone)]
pub struct Outage {
    count: Arc<AtomicUsize>,
    failing: Range<usize>,
    /// Whether the command is run before the connection is lost.
    applied: bool,
}

impl Outage {
    pub fn of(failing: Range<usize>, applied: bool) -> Self {
        Self { count: Arc::default(), failing, applied }
    }

    /// How many commands were run so far.
    pub fn commands(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl NamespaceHost {
    pub fn of(namespace: &super::Namespace) -> Self {
        Self { namespace: namespace.name().to_owned(), local: LocalHost::new(), outage: None, by: Vec::new() }
    }

    pub fn with(mut self, outage: &Outage) -> Self {
        self.outage = Some(outage.clone());
        self
    }

    /// Runs each command by these words: as another account, or after something else.
    pub fn by(mut self, words: &[&str]) -> Self {
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
impl Shell for NamespaceHost {
    async fn execute(&self, command: &Command) -> Result<Output> {
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

    async fn reach(&self, _address: &str) -> Result<Tunnel> {
        Err(Error::new(ErrorKind::Unsupported, "no tunnel into a namespace"))
    }
}

host_with_local_files!(NamespaceHost);
