//! How `git push` gets to a server: the URL, and the ssh command with our own keys and host keys.

use std::io::Write as _;
use std::path::Path;

use bluegreen_core::host::{quote, quote_all};
use bluegreen_core::{Error, ErrorKind, Result};
use tempfile::NamedTempFile;

use crate::SshHost;
use crate::host_key::HostKeyPolicy;
use crate::identity::Identity;
use crate::settings::Settings;

#[derive(Debug, Clone)]
pub(super) enum Remote {
    Path,
    Ssh(SshHost),
    Url(String),
}

impl Remote {
    /// The URL of the repository in a directory.
    pub(super) fn url(&self, directory: &str) -> String {
        match self {
            Self::Path => format!("{directory}/repository.git"),
            Self::Url(url) => url.clone(),
            Self::Ssh(host) => {
                let Settings { user, host, port, .. } = host.settings();
                let home = if directory.starts_with('/') { "" } else { "/~/" };
                let path = encoded(&format!("{home}{directory}/repository.git"));
                format!("ssh://{}@{}:{port}{path}", encoded(user), bracketed(host))
            }
        }
    }

    /// # Errors
    /// `Config` when a URL could be taken for something else; `Unsupported` when ssh cannot be told what the host was
    /// told.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Path => Ok(()),
            Self::Ssh(host) => check(host.settings()),
            Self::Url(url) => {
                let harmless = !url.is_empty() && !url.starts_with('-') && !url.contains("::");
                match harmless && !url.chars().any(|c| c.is_control() || c.is_whitespace()) {
                    true => Ok(()),
                    false => Err(Error::config(format!("{url:?} is not the URL of a repository"))),
                }
            }
        }
    }

    /// The value of `GIT_SSH_COMMAND`.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and of writing a key that was given as text to a temporary file.
    pub(super) fn ssh(&self) -> Result<SshCommand> {
        let mut command = SshCommand::default();
        match self {
            Self::Path | Self::Url(_) => command.words(&["-o".into(), "BatchMode=yes".into(), STRICT.into()]),
            Self::Ssh(host) => {
                let words = options(host.settings(), &mut command.keys)?;
                command.words(&words);
            }
        }
        Ok(command)
    }
}

const STRICT: &str = "-oStrictHostKeyChecking=yes";

/// What is the same for all servers: no prompt, no configuration, nothing forwarded, one connection of its own.
const ALWAYS: &[&str] = &[
    "-F",
    "none",
    "-oBatchMode=yes",
    STRICT,
    "-oUpdateHostKeys=no",
    "-oGlobalKnownHostsFile=/dev/null",
    "-oPreferredAuthentications=publickey",
    "-oClearAllForwardings=yes",
    "-oForwardAgent=no",
    "-oControlPath=none",
    "-oServerAliveInterval=15",
];

/// An ssh command line for a shell, and the files that it needs as long as it runs.
#[derive(Debug, Default)]
pub(super) struct SshCommand {
    pub(super) text: String,
    keys: Vec<NamedTempFile>,
}

impl SshCommand {
    fn words(&mut self, words: &[String]) {
        self.text = format!("ssh {}", quote_all(words));
    }
}

fn check(settings: &Settings) -> Result<()> {
    let unsupported = |what: &str, instead: &'static str| {
        let message = format!("git's ssh cannot be given {what}");
        Err(Error::new(ErrorKind::Unsupported, message).with("host", settings).with_hint(instead))
    };
    if matches!(settings.host_key.policy, HostKeyPolicy::Fingerprints(_)) {
        return unsupported("a host key by its fingerprint", "record the key in a file, and name it with known_hosts");
    }
    for identity in &settings.identities {
        if let Identity::File { passphrase: Some(_), .. } | Identity::Key { passphrase: Some(_), .. } = identity {
            return unsupported("a passphrase", "put the key into an agent: ssh-add");
        }
    }
    settings.jump.as_ref().map_or(Ok(()), |jump| check(jump))
}

fn options(settings: &Settings, keys: &mut Vec<NamedTempFile>) -> Result<Vec<String>> {
    check(settings)?;
    let mut words: Vec<String> = ALWAYS.iter().map(|&word| word.to_owned()).collect();
    let mut set = |name: &str, value: String| words.push(format!("-o{name}={value}"));
    set("ConnectTimeout", settings.connect_timeout.as_secs().max(1).to_string());

    let files = match &settings.host_key.policy {
        HostKeyPolicy::Known(files) | HostKeyPolicy::FirstUse(files) => files.as_slice(),
        HostKeyPolicy::Fingerprints(_) => &[],
    };
    let files: Vec<_> = files.iter().map(|file| path(file)).collect::<Result<_>>()?;
    set("UserKnownHostsFile", files.join(" "));
    if let Some(alias) = &settings.host_key.alias {
        set("HostKeyAlias", alias.to_lowercase());
    }

    let mut agent = None;
    let (mut all_of_agent, mut any_file) = (false, false);
    for identity in &settings.identities {
        let file = match identity {
            Identity::File { path, .. } => {
                if is_public(path) {
                    agent = agent.or_else(own_agent);
                }
                path.clone()
            }
            Identity::Key { text, .. } => {
                let file = temporary(text.reveal()).map_err(|error| {
                    Error::from(error).not_applied().with_operation("keep the key in a temporary file while git runs")
                })?;
                let path = file.path().to_owned();
                keys.push(file);
                path
            }
            Identity::Agent { socket, only } => {
                agent = socket.clone().or_else(own_agent).or(agent);
                match only {
                    Some(public) => public.clone(),
                    None => {
                        all_of_agent = true;
                        continue;
                    }
                }
            }
        };
        any_file = true;
        set("IdentityFile", path(&file)?);
    }
    if !any_file {
        set("IdentityFile", "none".to_owned());
    }
    set("IdentitiesOnly", if all_of_agent { "no" } else { "yes" }.to_owned());
    set("IdentityAgent", agent.map_or(Ok("none".to_owned()), |socket| path(&socket))?);
    for certificate in &settings.certificates {
        set("CertificateFile", path(certificate)?);
    }
    match &settings.jump {
        Some(jump) => set("ProxyCommand", proxy(jump, keys)?),
        None => set("ProxyCommand", "none".to_owned()),
    }
    Ok(words)
}

/// The command that reaches the next server through this one. ssh replaces `%` in it once.
fn proxy(jump: &Settings, keys: &mut Vec<NamedTempFile>) -> Result<String> {
    let words = options(jump, keys)?;
    let own = [format!("-p{}", jump.port), "-l".to_owned(), jump.user.clone()];
    let fixed = quote_all(words.iter().chain(&own)).replace('%', "%%");
    Ok(format!("ssh {fixed} -W '[%h]:%p' -- {}", quote(&jump.host).replace('%', "%%")))
}

/// A path in an option of ssh, where quotes, `%` and `${` mean something.
fn path(file: &Path) -> Result<String> {
    let file = std::path::absolute(file).map_err(Error::from)?;
    let text = file.display().to_string();
    if text.contains(['"', '\\', '\n', '\r']) || text.contains("${") {
        return Err(Error::config(format!("git's ssh cannot be given the path {text:?}")));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn own_agent() -> Option<std::path::PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(Into::into)
}

fn is_public(file: &Path) -> bool {
    let text = std::fs::read(file).unwrap_or_default();
    [&b"ssh-"[..], b"ecdsa-", b"sk-"].iter().any(|start| text.starts_with(start))
}

/// Readable by its owner alone from the first moment.
fn temporary(key: &str) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("bluegreen-key-")?;
    file.write_all(key.trim_end().as_bytes())?;
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(file)
}

pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// For a URL, in which git decodes `%xx`.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_the_same_as_the_host_and_the_directory() {
        let url = |destination: &str, directory: &str| {
            Remote::Ssh(SshHost::builder(destination).build().unwrap()).url(directory)
        };
        for (destination, directory, expected) in [
            ("deploy@blue:2222", "/srv/app", "ssh://deploy@blue:2222/srv/app/repository.git"),
            ("deploy@blue", "app", "ssh://deploy@blue:22/~/app/repository.git"),
            ("a@b@[::1]:22", "/a b/%41", "ssh://a%40b@[::1]:22/a%20b/%2541/repository.git"),
        ] {
            assert_eq!(url(destination, directory), expected);
        }
    }

    #[test]
    fn a_path_that_ssh_would_read_as_something_else_is_refused() {
        assert_eq!(path(Path::new("/a b/100%h")).unwrap(), "\"/a b/100%%h\"");
        for bad in ["/a\"b", "/a\\b", "/${HOME}/x", "/a\nb"] {
            assert!(path(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
