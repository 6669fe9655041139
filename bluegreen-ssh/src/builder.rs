use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{Error, Result, Secret};
use russh::keys::ssh_key::Fingerprint;

use crate::destination::{DEFAULT_PORT, Destination};
use crate::host::SshHost;
use crate::host_key::{HostKeyCheck, HostKeyPolicy, is_alias};
use crate::identity::{Identity, default_identities};
use crate::settings::{Keepalive, Settings};

/// Default for how long connecting and authenticating may take: 30 s.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Default for the silence after which the server is asked whether it is there: 5 s.
pub const DEFAULT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Default for how many such questions may stay without an answer: 3. With the interval it follows that a
/// server that is gone is noticed within 20 seconds.
pub const DEFAULT_KEEPALIVE_MAX: usize = 3;

/// Default for how many commands run at the same time: 8. OpenSSH allows 10 sessions in one connection
/// (`MaxSessions` in sshd_config); one is left for the next command, and one to end a command that takes
/// too long.
pub const DEFAULT_MAX_SESSIONS: usize = 8;

/// Puts an [`SshHost`] together.
///
/// The host key must be known: from `known_hosts` files (the default), by [`fingerprint`](Self::fingerprint), or by
/// the named choice to [`trust_on_first_use`](Self::trust_on_first_use). There is no way to accept just any key.
#[derive(Debug, Clone)]
#[must_use]
pub struct SshHostBuilder {
    destination: String,
    user: Option<String>,
    port: Option<u16>,
    host_key_alias: Option<String>,
    known_hosts: Vec<PathBuf>,
    fingerprints: Vec<String>,
    first_use: bool,
    identities: Vec<Identity>,
    certificates: Vec<PathBuf>,
    jump: Option<Box<SshHostBuilder>>,
    connect_timeout: Duration,
    keepalive: Keepalive,
    max_sessions: usize,
}

impl SshHost {
    /// A server given as `[user@]host[:port]`. What is not said is what `ssh` would take, but `~/.ssh/config` is not
    /// read: see [`SshHostBuilder::from_ssh_config`].
    pub fn builder(destination: impl Into<String>) -> SshHostBuilder {
        SshHostBuilder::new(destination.into())
    }
}

impl SshHostBuilder {
    pub(crate) fn new(destination: String) -> Self {
        Self {
            destination,
            user: None,
            port: None,
            host_key_alias: None,
            known_hosts: Vec::new(),
            fingerprints: Vec::new(),
            first_use: false,
            identities: Vec::new(),
            certificates: Vec::new(),
            jump: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            keepalive: Keepalive { interval: DEFAULT_KEEPALIVE_INTERVAL, max: DEFAULT_KEEPALIVE_MAX },
            max_sessions: DEFAULT_MAX_SESSIONS,
        }
    }

    /// The user to log in as. Unless said here or in the destination, it is that of the environment (`USER`, `LOGNAME`).
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The port; 22 unless said here or in the destination.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds a private key in a file. A certificate beside it (`<path>-cert.pub`) is used first; a public key stands
    /// for the private one that the agent holds.
    ///
    /// Keys are tried in the order in which they are given. When none is given, the agent's are tried, and then
    /// `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa`.
    pub fn key_file(self, path: impl Into<PathBuf>) -> Self {
        self.identity(Identity::File { path: path.into(), passphrase: None })
    }

    /// Adds a private key in a file that is encrypted with a passphrase.
    pub fn encrypted_key_file(self, path: impl Into<PathBuf>, passphrase: Secret) -> Self {
        self.identity(Identity::File { path: path.into(), passphrase: Some(passphrase) })
    }

    /// Adds a private key as its text, in the formats of OpenSSH or PEM; for keys that a CI system hands over.
    pub fn key(self, text: Secret) -> Self {
        self.identity(Identity::Key { text, passphrase: None })
    }

    /// Adds the keys of the agent that `SSH_AUTH_SOCK` names.
    pub fn agent(self) -> Self {
        self.identity(Identity::Agent { socket: None, only: None })
    }

    /// Adds the keys of the agent behind this socket.
    pub fn agent_socket(self, path: impl Into<PathBuf>) -> Self {
        self.identity(Identity::Agent { socket: Some(path.into()), only: None })
    }

    /// Adds an OpenSSH certificate. It is used with the key that it is for.
    pub fn certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificates.push(path.into());
        self
    }

    /// Adds a file that records host keys. Unless one is given, they are those of OpenSSH: `~/.ssh/known_hosts` and
    /// `/etc/ssh/ssh_known_hosts`, and both with a `2` behind.
    ///
    /// Hashed names, ports, patterns, several keys, `@revoked` and `@cert-authority` count as in OpenSSH. A key of
    /// another type than the recorded ones is refused like one that differs.
    pub fn known_hosts(mut self, path: impl Into<PathBuf>) -> Self {
        self.known_hosts.push(path.into());
        self
    }

    /// Accepts a host key with this fingerprint, as `ssh-keygen -l` prints it: `SHA256:...`. The `known_hosts` files
    /// do not count then.
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprints.push(fingerprint.into());
        self
    }

    /// Accepts the key of a host of which nothing is recorded yet, and records it in the first `known_hosts` file;
    /// from then on it must not change. Who answers first is trusted: prefer a fingerprint.
    pub fn trust_on_first_use(mut self) -> Self {
        self.first_use = true;
        self
    }

    /// The name under which the host key is recorded, when it is not the one to connect to. As with `HostKeyAlias` of
    /// OpenSSH, it stands alone, whatever the port.
    pub fn host_key_alias(mut self, name: impl Into<String>) -> Self {
        self.host_key_alias = Some(name.into());
        self
    }

    /// Connects through another server, whose host key is checked as its own builder says.
    pub fn jump(mut self, through: SshHostBuilder) -> Self {
        self.jump = Some(Box::new(through));
        self
    }

    /// How long connecting and authenticating may take. Default: 30 s ([`DEFAULT_CONNECT_TIMEOUT`]).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how much silence the server is asked whether it is there, and how often without an answer until the
    /// connection counts as lost. Default: 5 s ([`DEFAULT_KEEPALIVE_INTERVAL`]) and 3 times ([`DEFAULT_KEEPALIVE_MAX`]).
    pub fn keepalive(mut self, interval: Duration, max: usize) -> Self {
        self.keepalive = Keepalive { interval, max };
        self
    }

    /// How many commands run at the same time, the others waiting. Default: 8 ([`DEFAULT_MAX_SESSIONS`]). A server that
    /// allows less is noticed, and costs a round trip more per command.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The host. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` when the destination, an alias or a fingerprint cannot be read, or no user is known.
    pub fn build(self) -> Result<SshHost> {
        self.settings().map(SshHost::new)
    }

    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }

    fn settings(self) -> Result<Settings> {
        let destination: Destination = self.destination.parse()?;
        let user = self.user.or(destination.user).or_else(crate::settings::local_user);
        let user = user.ok_or_else(|| Error::config("as which user? Say user@host").with("host", &destination.host))?;
        let port = self.port.or(destination.port).unwrap_or(DEFAULT_PORT);
        if self.keepalive.interval.is_zero() || self.keepalive.max == 0 {
            return Err(Error::config("the keepalive interval and its number are above 0"));
        }
        let files = if self.known_hosts.is_empty() { HostKeyPolicy::default_files() } else { self.known_hosts };
        let policy = match (self.fingerprints.is_empty(), self.first_use) {
            (true, false) => HostKeyPolicy::Known(files),
            (true, true) => HostKeyPolicy::FirstUse(files),
            (false, false) => HostKeyPolicy::Fingerprints(parse(&self.fingerprints)?),
            (false, true) => return Err(Error::config("a fingerprint leaves nothing to trust on first use: take one")),
        };
        if let Some(alias) = self.host_key_alias.as_ref().filter(|alias| !is_alias(alias)) {
            return Err(Error::config(format!("{alias:?} cannot be a name in a known_hosts file")));
        }
        Ok(Settings {
            user,
            host_key: HostKeyCheck { host: destination.host.clone(), port, alias: self.host_key_alias, policy },
            host: destination.host,
            port,
            identities: if self.identities.is_empty() { default_identities() } else { self.identities },
            certificates: self.certificates,
            jump: self.jump.map(|jump| jump.settings().map(Box::new)).transpose()?,
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
            max_sessions: self.max_sessions,
        })
    }
}

fn parse(fingerprints: &[String]) -> Result<Vec<Fingerprint>> {
    let parse = |text: &String| {
        text.parse().map_err(|_| {
            Error::config(format!("{text:?} is not a fingerprint"))
                .with_hint("take what `ssh-keygen -lf` prints: SHA256: and 43 characters")
        })
    };
    fingerprints.iter().map(parse).collect()
}
