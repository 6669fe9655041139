//! `~/.ssh/config`, as far as it is understood; what is not, and matters, is refused.

use std::path::{Path, PathBuf};

use bluegreen_core::{Error, Result};
use ssh2_config::{HostParams, ParseRule, SshConfig};

use crate::builder::SshHostBuilder;
use crate::destination::Destination;
use crate::host::SshHost;
use crate::host_key::HostKeyPolicy;
use crate::identity::{Identity, default_identities};
use crate::settings::local_user;
use crate::ssh_config_lines;
use crate::ssh_config_match::{self, Names};
use crate::text::read_text;

/// So many servers may stand one behind the other.
const MAX_JUMPS: usize = 8;

/// Settings that would change where, how or as whom a connection is made, or which host keys are good, and that are
/// not understood; with the values that change nothing.
const REFUSED: &[(&str, &[&str])] = &[
    ("proxycommand", &["none"]),
    ("knownhostscommand", &["none"]),
    ("revokedhostkeys", &["none"]),
    ("canonicalizehostname", &["no"]),
    ("addressfamily", &["any"]),
    ("pkcs11provider", &["none"]),
];

impl SshHost {
    /// A server as `~/.ssh/config` describes it, under the name that one gives to `ssh`. Without such a file, it is the
    /// server of that name.
    ///
    /// # Errors
    /// See [`from_ssh_config_file`](Self::from_ssh_config_file).
    pub fn from_ssh_config(name: &str) -> Result<SshHostBuilder> {
        read_own(name)
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
    /// others that the error names; when a `Match` block may count for it whose criteria are others than `all`, `host`,
    /// `originalhost` and `localuser`; and, for whichever host, when it has one of the settings above twice in one block, of
    /// which `ssh` takes the first, or includes files in a circle. Settings without such an effect are ignored.
    pub fn from_ssh_config_file(file: impl AsRef<Path>, name: &str) -> Result<SshHostBuilder> {
        read(file.as_ref(), name)
    }
}

/// The description of the host that one gives to `ssh` as `name`, from the user's own file. Without one, it is the name.
fn read_own(name: &str) -> Result<SshHostBuilder> {
    let home = std::env::home_dir().ok_or_else(|| Error::config("there is no home directory"))?;
    let file = home.join(".ssh/config");
    if file.exists() { read(&file, name) } else { Ok(SshHostBuilder::new(name.to_owned())) }
}

/// The description of the host that one gives to `ssh` as `name`.
fn read(file: &Path, name: &str) -> Result<SshHostBuilder> {
    let located = |error: Error| {
        error.with_operation(format!("read the SSH configuration of {name}")).with("file", file.display())
    };
    let text = read_text(file).map_err(|error| located(Error::from(error).not_applied()))?;
    describe(&Source { file, text: &text }, name, 0).map_err(located)
}

/// A configuration file. What it says depends on the host that is asked for.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn config(&self, name: &str) -> Result<SshConfig> {
        let decide = |host: Option<&str>| {
            parse(&ssh_config_match::decide(self.file, self.text, &Names { original: name, host })?)
        };
        // A Match block sees what HostName makes of the name.
        let host = decide(None)?.query(name).host_name;
        let host = host.map_or(name.to_owned(), |host| host.replace("%h", name));
        let config = decide(Some(&host))?;
        ssh_config_lines::check(self.file, self.text)?;
        Ok(config)
    }
}

fn parse(text: &str) -> Result<SshConfig> {
    let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    SshConfig::default()
        .parse(&mut text.as_bytes(), rules)
        .map_err(|error| Error::config("this is not an SSH client configuration").with_source(error))
}

fn describe(source: &Source<'_>, name: &str, depth: usize) -> Result<SshHostBuilder> {
    if depth > MAX_JUMPS {
        return Err(Error::config(format!("more than {MAX_JUMPS} jump hosts: does ProxyJump lead in a circle?")));
    }
    let asked: Destination = name.parse()?;
    let params = source.config(&asked.host)?.query(&asked.host);
    refuse_unknown(&params)?;
    let tokens = Tokens::new(&asked, &params)?;

    let mut builder = SshHostBuilder::new(bracketed(&tokens.host));
    if let Some(user) = &tokens.user {
        builder = builder.user(user);
    }
    if let Some(port) = asked.port.or(params.port) {
        builder = builder.port(port);
    }
    if let Some(timeout) = params.connect_timeout.filter(|timeout| !timeout.is_zero()) {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(certificate) = &params.certificate_file {
        builder = builder.certificate_file(tokens.path(certificate)?);
    }
    if let Some(alias) = setting(&params, "hostkeyalias")? {
        builder = builder.host_key_alias(alias);
    }
    builder = host_keys(builder, &params, &tokens)?;
    for identity in identities(&params, &tokens)? {
        builder = builder.identity(identity);
    }
    match through(source, &params, depth)? {
        Some(jump) => Ok(builder.jump(jump)),
        None => Ok(builder),
    }
}

/// The last of the jump hosts, each with the one before it. Each is described by the configuration itself.
fn through(source: &Source<'_>, params: &HostParams, depth: usize) -> Result<Option<SshHostBuilder>> {
    let hops = params.proxy_jump.as_deref().unwrap_or_default();
    let mut last: Option<SshHostBuilder> = None;
    for hop in hops.iter().map(|hop| hop.trim()).filter(|hop| !hop.eq_ignore_ascii_case("none")) {
        let described = describe(source, hop, depth + 1)?;
        last = Some(match last {
            Some(before) => described.jump(before),
            None => described,
        });
    }
    Ok(last)
}

fn identities(params: &HostParams, tokens: &Tokens) -> Result<Vec<Identity>> {
    let agent = setting(params, "identityagent")?;
    let (socket, has_agent) = match agent.as_deref() {
        Some("none") => (None, false),
        None | Some("SSH_AUTH_SOCK") => (None, true),
        Some(text) => match text.strip_prefix('$') {
            Some(variable) => match std::env::var_os(variable.trim_matches(['{', '}'])) {
                Some(path) => (Some(PathBuf::from(path)), true),
                None => (None, false),
            },
            None => (Some(tokens.path(Path::new(text))?), true),
        },
    };
    let only = setting(params, "identitiesonly")?.is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let files = params.identity_file.as_deref().unwrap_or_default();
    let mut identities = Vec::new();
    for file in files.iter().filter(|file| file.as_os_str() != "none") {
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

fn host_keys(mut builder: SshHostBuilder, params: &HostParams, tokens: &Tokens) -> Result<SshHostBuilder> {
    let (user, global) = (files(params, "userknownhostsfile", tokens)?, files(params, "globalknownhostsfile", tokens)?);
    if user.is_none() && global.is_none() {
        return Ok(builder);
    }
    let (global_defaults, user_defaults): (Vec<_>, Vec<_>) =
        HostKeyPolicy::default_files().into_iter().partition(|file| file.starts_with("/etc"));
    for file in user.unwrap_or(user_defaults).into_iter().chain(global.unwrap_or(global_defaults)) {
        builder = builder.known_hosts(file);
    }
    Ok(builder)
}

fn files(params: &HostParams, key: &str, tokens: &Tokens) -> Result<Option<Vec<PathBuf>>> {
    let Some(values) = params.unsupported_fields.get(key) else { return Ok(None) };
    let named = values.iter().filter(|value| value.as_str() != "none");
    named.map(|value| tokens.path(Path::new(value))).collect::<Result<_>>().map(Some)
}

fn refuse_unknown(params: &HostParams) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::config(format!("the configuration sets {what} for this host, which is not understood"))
            .with_hint("describe the host with SshHost::builder instead"))
    };
    for (key, harmless) in REFUSED {
        if let Some(value) = setting(params, key)?
            && !harmless.iter().any(|word| value.eq_ignore_ascii_case(word))
        {
            return refuse(key);
        }
    }
    match (&params.bind_address, &params.bind_interface, params.pubkey_authentication) {
        (Some(_), _, _) => refuse("bindaddress"),
        (_, Some(_), _) => refuse("bindinterface"),
        (_, _, Some(false)) => refuse("pubkeyauthentication no"),
        _ => Ok(()),
    }
}

/// The single value of a setting that the parser passes on as words.
fn setting(params: &HostParams, key: &str) -> Result<Option<String>> {
    match params.unsupported_fields.get(key) {
        None => Ok(None),
        Some(values) if values.iter().any(|value| value.contains('"')) => {
            Err(Error::config(format!("the quotes in {key} are not understood")))
        }
        Some(values) => Ok(Some(values.join(" "))),
    }
}

/// What the tokens of ssh_config(5) stand for.
struct Tokens {
    name: String,
    host: String,
    port: u16,
    user: Option<String>,
    home: Option<PathBuf>,
}

impl Tokens {
    fn new(asked: &Destination, params: &HostParams) -> Result<Self> {
        let mut tokens = Self {
            name: asked.host.clone(),
            host: asked.host.clone(),
            port: asked.port.or(params.port).unwrap_or(crate::destination::DEFAULT_PORT),
            user: asked.user.clone().or_else(|| params.user.clone()),
            home: std::env::home_dir(),
        };
        if let Some(host) = &params.host_name {
            tokens.host = tokens.expand(host)?;
        }
        Ok(tokens)
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
                Some('h') => Some(self.host.clone()),
                Some('n') => Some(self.name.clone()),
                Some('p') => Some(self.port.to_string()),
                Some('r') => self.user.clone().or_else(local_user),
                Some('u') => local_user(),
                Some('d') => self.home.as_ref().map(|home| home.display().to_string()),
                _ => None,
            };
            match value {
                Some(value) => expanded.push_str(&value),
                None => return Err(Error::config(format!("a token in {text:?} is not understood"))),
            }
        }
        Ok(expanded)
    }

    fn path(&self, path: &Path) -> Result<PathBuf> {
        let text = self.expand(&path.display().to_string())?;
        if text.contains('"') {
            return Err(Error::config(format!("the quotes in {text} are not understood")));
        }
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err(Error::config("there is no home directory")),
            (None, _) if text.starts_with('~') => Err(Error::config(format!("{text}: only ~/ is understood"))),
            (None, _) => Ok(PathBuf::from(text)),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
