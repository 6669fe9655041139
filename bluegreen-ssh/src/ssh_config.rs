//! `~/.ssh/config`, as OpenSSH reads it; what is not supported here, and matters, is refused.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_core::{Error, Result};

use crate::builder::SshHostBuilder;
use crate::destination::Destination;
use crate::host_key::HostKeyPolicy;
use crate::identity::{Identity, default_identities};
use crate::settings::local_user;
use crate::ssh_client::ClientSettings;

/// So many servers may stand one behind the other.
const MAX_JUMPS: usize = 8;

/// Settings that would change where, how or as whom a connection is made, or which host keys are good, and that are
/// not supported; with the values that change nothing.
const REFUSED: &[(&str, &[&str])] = &[
    ("proxycommand", &["none"]),
    ("knownhostscommand", &["none"]),
    ("revokedhostkeys", &["none"]),
    ("canonicalizehostname", &["false", "no"]),
    ("addressfamily", &["any"]),
    ("pkcs11provider", &["none"]),
    ("bindaddress", &[]),
    ("bindinterface", &[]),
    ("pubkeyauthentication", &["true", "yes", "unbound", "host-bound"]),
];

impl SshHostBuilder {
    /// A server as `~/.ssh/config` describes it, under the name that one gives to `ssh`. Without such a file, it is the
    /// server of that name.
    ///
    /// # Errors
    /// See [`from_ssh_config_file`](Self::from_ssh_config_file).
    pub fn from_ssh_config(name: &str) -> Result<Self> {
        let home = std::env::home_dir().ok_or_else(|| Error::config("there is no home directory"))?;
        let file = home.join(".ssh/config");
        if file.exists() { read(&file, name) } else { Ok(SshHostBuilder::new(name.to_owned())) }
    }

    /// A server as an OpenSSH client configuration file describes it.
    ///
    /// The `ssh` program reads the file (`ssh -G`), with all that ssh_config(5) knows: `Include`, `Match`, patterns, quotes.
    /// This takes a few milliseconds, in which the call blocks; a `Match exec` runs its program. The system's own file is
    /// not read. From the result count `HostName`, `User`, `Port`, `IdentityFile`, `IdentitiesOnly`, `IdentityAgent`,
    /// `CertificateFile`, `HostKeyAlias`, `UserKnownHostsFile`, `GlobalKnownHostsFile`, `ProxyJump` and `ConnectTimeout`.
    /// In an `IdentityFile` and a `CertificateFile`, the tokens are `%%`, `%d`, `%h`, `%n`, `%p`, `%r` and `%u`. Of several
    /// known hosts files, all but the first must have absolute paths.
    ///
    /// # Errors
    /// `NotFound` when there is no such file. `Config` when there is no `ssh` program; when it refuses the file, with its
    /// own words; and when the file says something for this host that would change where or as whom the connection is
    /// made, and is not supported: `ProxyCommand`, and others that the error names. `Timeout` when `ssh` takes longer than
    /// 20 seconds. Settings without such an effect are ignored.
    pub fn from_ssh_config_file(file: impl AsRef<Path>, name: &str) -> Result<Self> {
        read(file.as_ref(), name)
    }
}

/// The description of the host that one gives to `ssh` as `name`.
fn read(file: &Path, name: &str) -> Result<SshHostBuilder> {
    let described = match File::open(file) {
        Ok(_) => describe(file, name, 0),
        Err(error) => Err(Error::from(error).not_applied()),
    };
    described.map_err(|error| {
        error.with_operation(format!("read the SSH configuration of {name}")).with("file", file.display())
    })
}

fn describe(file: &Path, name: &str, depth: usize) -> Result<SshHostBuilder> {
    if depth > MAX_JUMPS {
        return Err(Error::config(format!("more than {MAX_JUMPS} jump hosts: does ProxyJump lead in a circle?")));
    }
    let asked: Destination = name.parse()?;
    let settings = ClientSettings::read(file, &asked)?;
    refuse_unsupported(&settings)?;
    let value =
        |keyword| settings.get(keyword).ok_or_else(|| Error::config(format!("ssh says no {keyword} for this host")));
    let (host, user, port) = (value("hostname")?, value("user")?, value("port")?);
    let tokens = Tokens { name: &asked.host, host, user, port, home: std::env::home_dir() };

    let mut builder = SshHostBuilder::new(bracketed(host)).user(user);
    builder = builder.port(port.parse().map_err(|_| Error::config(format!("{port} is not a port")))?);
    if let Some(seconds) =
        settings.get("connecttimeout").and_then(|text| text.parse().ok()).filter(|&seconds| seconds > 0)
    {
        builder = builder.connect_timeout(Duration::from_secs(seconds));
    }
    for certificate in settings.all("certificatefile").filter(|file| *file != "none") {
        builder = builder.certificate_file(tokens.path(certificate)?);
    }
    if let Some(alias) = settings.get("hostkeyalias") {
        builder = builder.host_key_alias(alias);
    }
    for known_hosts in known_hosts(&settings) {
        builder = builder.known_hosts(known_hosts);
    }
    for identity in identities(&settings, &tokens)? {
        builder = builder.identity(identity);
    }
    match through(file, &settings, depth)? {
        Some(jump) => Ok(builder.jump(jump)),
        None => Ok(builder),
    }
}

fn refuse_unsupported(settings: &ClientSettings) -> Result<()> {
    for (keyword, harmless) in REFUSED {
        if settings.get(keyword).is_some_and(|value| !harmless.contains(&value)) {
            return Err(Error::config(format!(
                "the configuration sets {keyword} for this host, which is not supported"
            ))
            .with_hint("describe the host with SshHost::builder instead"));
        }
    }
    Ok(())
}

/// The last of the jump hosts, each with the one before it. Each is described by the configuration itself.
fn through(file: &Path, settings: &ClientSettings, depth: usize) -> Result<Option<SshHostBuilder>> {
    let mut last: Option<SshHostBuilder> = None;
    for hop in settings.get("proxyjump").into_iter().flat_map(|hops| hops.split(',')) {
        let described = describe(file, hop, depth + 1)?;
        last = Some(match last {
            Some(before) => described.jump(before),
            None => described,
        });
    }
    Ok(last)
}

fn identities(settings: &ClientSettings, tokens: &Tokens<'_>) -> Result<Vec<Identity>> {
    let (socket, has_agent) = match settings.get("identityagent") {
        Some("none") => (None, false),
        None | Some("SSH_AUTH_SOCK") => (None, true),
        Some(text) => match text.strip_prefix('$') {
            Some(variable) => match std::env::var_os(variable) {
                Some(path) => (Some(PathBuf::from(path)), true),
                None => (None, false),
            },
            None => (Some(PathBuf::from(text)), true),
        },
    };
    let only = settings.get("identitiesonly") == Some("yes");
    let files = settings.identity_files();
    let mut identities = Vec::new();
    for file in files.iter().filter(|file| **file != "none") {
        let path = tokens.path(file)?;
        if has_agent {
            identities.push(Identity::Agent { socket: socket.clone(), only: Some(path.clone()) });
        }
        identities.push(Identity::File { path, passphrase: None });
    }
    if files.is_empty() {
        let usual = default_identities();
        identities.extend(usual.into_iter().filter(|identity| matches!(identity, Identity::File { .. })));
    }
    if has_agent && !only {
        let agent = Identity::Agent { socket, only: None };
        // Keys that are asked for by name go first; without any, the agent does, as in ssh.
        identities.insert(if files.is_empty() { 0 } else { identities.len() }, agent);
    }
    if identities.is_empty() {
        return Err(Error::config("the configuration leaves no key and no agent to authenticate with"));
    }
    Ok(identities)
}

/// The user's files, then the system's; none where they are the usual ones.
fn known_hosts(settings: &ClientSettings) -> Vec<PathBuf> {
    let named = ["userknownhostsfile", "globalknownhostsfile"].into_iter().flat_map(|keyword| settings.paths(keyword));
    let files: Vec<_> = named.filter(|file| file != "none").map(PathBuf::from).collect();
    if files.is_empty() {
        // No key is good then.
        return vec![PathBuf::from("/dev/null")];
    }
    if files == HostKeyPolicy::default_files() { Vec::new() } else { files }
}

/// What the tokens of ssh_config(5) stand for, in the paths that `ssh -G` prints as they are written.
struct Tokens<'a> {
    name: &'a str,
    host: &'a str,
    port: &'a str,
    user: &'a str,
    home: Option<PathBuf>,
}

impl Tokens<'_> {
    fn path(&self, path: &str) -> Result<PathBuf> {
        let text = self.expand(path)?;
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err(Error::config("there is no home directory")),
            (None, _) if text.starts_with('~') => Err(Error::config(format!("{text}: only ~/ is supported"))),
            (None, _) => Ok(PathBuf::from(text)),
        }
    }

    fn expand(&self, text: &str) -> Result<String> {
        let mut expanded = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            let value = match chars.next() {
                Some('%') => Some("%".to_owned()),
                Some('h') => Some(self.host.to_owned()),
                Some('n') => Some(self.name.to_owned()),
                Some('p') => Some(self.port.to_owned()),
                Some('r') => Some(self.user.to_owned()),
                Some('u') => local_user(),
                Some('d') => self.home.as_ref().map(|home| home.display().to_string()),
                _ => None,
            };
            match value {
                Some(value) => expanded.push_str(&value),
                None => return Err(Error::config(format!("a token in {text:?} is not supported"))),
            }
        }
        Ok(expanded)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
