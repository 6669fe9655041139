//! What the `docker` command on a host is set up with: which engine it talks to, and its `config.json`.

use bluegreen_core::{Command, Error, ErrorKind, Host, Result, sha256_hex};
use serde::Deserialize;
use serde_json::Value;

use super::address::Address;

/// Where an engine listens unless anything else is said.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// The settings of the Docker client on a host.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    pub(crate) address: Address,
    /// Where the certificates are, for an engine that wants TLS.
    pub(crate) certificates: Option<Certificates>,
    /// Whether a context says so, which the `docker` command looks up by itself.
    pub(crate) from_context: bool,
    /// The client's `config.json`; `Null` where there is none.
    pub(crate) config: Value,
}

/// The files of a TLS connection, on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    fn inside(directory: &str) -> Self {
        let file = |name: &str| format!("{directory}/{name}");
        Self { ca: file("ca.pem"), certificate: file("cert.pem"), key: file("key.pem") }
    }
}

/// Five lines, then the content of `config.json`: one command, whatever the host.
const LOOK: &str = r#"directory=${DOCKER_CONFIG:-$HOME/.docker}
printf '%s\n' "${DOCKER_HOST-}" "${DOCKER_CONTEXT-}" "${DOCKER_TLS_VERIFY-}" "${DOCKER_CERT_PATH-}" "$directory"
cat "$directory/config.json" 2>/dev/null || :
"#;

impl ClientSettings {
    /// Reads them as the `docker` command would: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else the current context of
    /// `config.json`, else the usual socket. A `given` address comes before all.
    pub(crate) async fn of(host: &dyn Host, given: Option<&str>) -> Result<Self> {
        let command = Command::script(LOOK);
        let output = host.run(&command).await.and_then(|output| output.ok(&command, host));
        let output = output.map_err(|error| error.not_applied())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.splitn(6, '\n');
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let (docker_host, context, tls, cert_path, directory) = (next(), next(), next(), next(), next());
        let config = match next() {
            text if text.trim().is_empty() => Value::Null,
            text => serde_json::from_str(&text).map_err(|error| {
                Error::new(ErrorKind::Config, "the Docker client's config.json is not JSON")
                    .with("path", format!("{directory}/config.json"))
                    .with_source(error)
            })?,
        };
        let certificates = || match (tls.is_empty(), cert_path.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Certificates::inside(&directory)),
            (false, false) => Some(Certificates::inside(&cert_path)),
        };
        if let Some(given) = given {
            let address: Address = given.parse()?;
            let certificates = certificates().filter(|_| address.is_tcp());
            return Ok(Self { address, certificates, from_context: false, config });
        }
        if !docker_host.is_empty() {
            let address: Address = docker_host.parse().map_err(|error: Error| error.with("variable", "DOCKER_HOST"))?;
            let certificates = certificates().filter(|_| address.is_tcp());
            return Ok(Self { address, certificates, from_context: false, config });
        }
        let current = || config.get("currentContext").and_then(Value::as_str).unwrap_or_default().to_owned();
        let context = if context.is_empty() { current() } else { context };
        if context.is_empty() || context == "default" {
            return Ok(Self { address: DEFAULT_ADDRESS.parse()?, certificates: None, from_context: false, config });
        }
        let (address, certificates) = read_context(host, &directory, &context).await?;
        Ok(Self { address, certificates, from_context: true, config })
    }
}

#[derive(Deserialize)]
struct Context {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: DockerEndpoint,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host")]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The client keeps each context in a folder that is named by the checksum of the context's name.
async fn read_context(host: &dyn Host, directory: &str, name: &str) -> Result<(Address, Option<Certificates>)> {
    let id = sha256_hex(name);
    let path = format!("{directory}/contexts/meta/{id}/meta.json");
    let Some(bytes) = host.read(&path).await? else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no Docker context {name:?}"))
            .not_applied()
            .with("path", path)
            .with("host", host)
            .with_hint("`docker context ls` shows those that there are"));
    };
    let Context { endpoints: Endpoints { docker } } = serde_json::from_slice(&bytes).map_err(|error| {
        Error::config(format!("the Docker context {name:?} cannot be read")).with("path", path).with_source(error)
    })?;
    if docker.skip_tls_verify {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the Docker context {name:?} does not verify its engine"),
        )
        .with_hint("give the context the certificate of the engine's authority"));
    }
    let address: Address = docker.host.parse().map_err(|error: Error| error.with("context", name))?;
    let certificates = Certificates::inside(&format!("{directory}/contexts/tls/{id}/docker"));
    let has_certificates = address.is_tcp() && host.read(&certificates.ca).await?.is_some();
    Ok((address, has_certificates.then_some(certificates)))
}

#[cfg(test)]
mod tests {
    use bluegreen_core::{LocalHost, Output, Progress, Secret, Tunnel};
    use std::path::Path;

    use super::*;

    /// This machine, with other variables in the environment of its commands.
    #[derive(Debug)]
    struct With(Vec<(&'static str, String)>);

    impl std::fmt::Display for With {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("this machine")
        }
    }

    #[async_trait::async_trait]
    impl Host for With {
        async fn run(&self, command: &Command) -> Result<Output> {
            let mut command = command.clone();
            for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
                command = command.env(name, Secret::new(""));
            }
            for (name, value) in &self.0 {
                command = command.env(*name, Secret::new(value));
            }
            LocalHost::new().run(&command).await
        }
        async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
            LocalHost::new().read(path).await
        }
        async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
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
            LocalHost::new().tunnel(address).await
        }
    }

    fn folder_with_context(name: &str, host: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let id = sha256_hex(name);
        let meta = folder.path().join("contexts/meta").join(id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).unwrap();
        std::fs::write(folder.path().join("config.json"), format!(r#"{{"currentContext":"{name}"}}"#)).unwrap();
        folder
    }

    #[tokio::test]
    async fn the_engine_is_the_one_that_the_docker_command_would_take() {
        let folder = folder_with_context("far", "unix:///run/far.sock");
        let config = ("DOCKER_CONFIG", folder.path().to_str().unwrap().to_owned());
        let found = async |variables: Vec<(&'static str, String)>, given| {
            ClientSettings::of(&With(variables), given).await.map(|settings| settings.address.to_string())
        };
        let address = found(vec![config.clone()], None).await.unwrap();
        assert_eq!(address, "unix:///run/far.sock", "the current context");
        let default = ("DOCKER_CONTEXT", "default".to_owned());
        assert_eq!(found(vec![config.clone(), default.clone()], None).await.unwrap(), DEFAULT_ADDRESS);
        let variable = ("DOCKER_HOST", "tcp://10.0.0.1:2375".to_owned());
        let both = vec![config.clone(), default, variable];
        assert_eq!(found(both.clone(), None).await.unwrap(), "tcp://10.0.0.1:2375", "DOCKER_HOST comes first");
        assert_eq!(found(both, Some("unix:///given.sock")).await.unwrap(), "unix:///given.sock");
        let empty = tempfile::tempdir().unwrap();
        let config = ("DOCKER_CONFIG", empty.path().to_str().unwrap().to_owned());
        assert_eq!(found(vec![config.clone()], None).await.unwrap(), DEFAULT_ADDRESS);
        let missing = found(vec![config, ("DOCKER_CONTEXT", "nope".to_owned())], None).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("nope"), "{missing}");
    }

    #[tokio::test]
    async fn the_variables_for_tls_count_for_tcp_only() {
        let variables = |address: &str| {
            With(vec![
                ("DOCKER_CONFIG", "/nonexistent".to_owned()),
                ("DOCKER_HOST", address.to_owned()),
                ("DOCKER_TLS_VERIFY", "1".to_owned()),
                ("DOCKER_CERT_PATH", "/certs".to_owned()),
            ])
        };
        let settings = ClientSettings::of(&variables("tcp://far:2376"), None).await.unwrap();
        assert_eq!(settings.certificates.unwrap().ca, "/certs/ca.pem");
        let settings = ClientSettings::of(&variables("unix:///x"), None).await.unwrap();
        assert_eq!(settings.certificates, None);
    }
}
