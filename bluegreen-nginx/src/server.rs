//! One nginx on one host, with the site of one service.

use std::sync::Arc;

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{Command, Error, ErrorKind, Host, Ownership, Reason, Result, Slot, Tunnel};
use bluegreen_http_client::Client;
use tokio::sync::OnceCell;

use crate::answer::Answer;
use crate::client::{client, get};
use crate::config::{NginxConfig, Probe};
use crate::nginx_version::NginxVersion;
use crate::script;
use crate::site::service_of;
use crate::slot_addresses::SlotAddresses;

/// For `nginx -v`.
const VERSION_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) config: NginxConfig,
    pub(crate) ownership: Ownership,
    client: Client,
    version: OnceCell<Option<NginxVersion>>,
}

/// A way to ask nginx; it stays open while this lives.
#[derive(Debug)]
pub(crate) struct ProbeConnection {
    base: String,
    host_name: Option<String>,
    tunnel: Option<Tunnel>,
}

impl Server {
    pub(crate) fn new(host: impl Host, config: NginxConfig) -> Result<Self> {
        config.check()?;
        let encrypted = matches!(config.probe_at(), Probe::Url(url) if url.starts_with("https"));
        Ok(Self {
            host: Arc::new(host),
            client: client(encrypted)?,
            config,
            ownership: Ownership::new(),
            version: OnceCell::new(),
        })
    }

    pub(crate) async fn run(&self, script: Script) -> Result<Reply> {
        script::run(script, &self.host, &self.config, &self.ownership).await
    }

    /// Opens the way to nginx. That nginx is there is not known yet.
    pub(crate) async fn line(&self) -> Result<ProbeConnection> {
        match self.config.probe_at() {
            Probe::Url(url) => {
                let base = crate::config::url(&url)?.as_str().trim_end_matches('/').to_owned();
                Ok(ProbeConnection { base, host_name: None, tunnel: None })
            }
            Probe::Host(address) => {
                let tunnel = self.host.tunnel(&address).await.map_err(Error::not_applied)?;
                let base = format!("http://{}", tunnel.address());
                Ok(ProbeConnection { base, host_name: Some(self.config.host_name()), tunnel: Some(tunnel) })
            }
        }
    }

    /// Asks nginx who gets a request, or a request of this bucket, over a connection of its own.
    pub(crate) async fn ask(&self, line: &ProbeConnection, bucket: Option<u8>) -> Result<Answer> {
        let query = bucket.map_or_else(String::new, |bucket| format!("?bucket={bucket:02}"));
        let url = format!("{}{}{query}", line.base, self.config.id_path);
        get(&self.client, &url, line.host_name.as_deref()).await.map_err(|failure| {
            let error = Error::from(failure).with_operation("ask nginx who is live").with("host", &self.host);
            let error = match &line.host_name {
                Some(name) => error.with("url", &url).with("server name", name),
                None => error.with("url", &url),
            };
            match line.tunnel.as_ref().and_then(Tunnel::failure) {
                Some(why) => error.with("tunnel", why),
                None => error.with_hint("is nginx running, and does it listen there?"),
            }
        })
    }

    /// The version of the server, where it says so; asked once.
    pub(crate) async fn version(&self) -> Result<Option<NginxVersion>> {
        let ask = || async {
            let words = self.config.commands.version_words();
            let script = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; \"$@\"";
            let command = Command::script(script).args(words).sudo(self.config.commands.sudo).timeout(VERSION_LIMIT);
            let output = self.host.run(&command).await.map_err(|error| error.not_applied())?;
            Ok::<_, Error>(NginxVersion::parse(&output.error_text()))
        };
        self.version.get_or_try_init(ask).await.copied()
    }

    /// Refuses a state directory of another service.
    pub(crate) async fn verify(&self) -> Result<()> {
        self.ownership.verify(&*self.host, &self.config.state_directory_path()).await
    }

    /// Does this, unless the state directory is another service's.
    pub(crate) async fn owned<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.verify().await?;
        work.await
    }

    /// As [`owned`](Self::owned), for what only looks, and so need not wait for the answer.
    pub(crate) async fn owned_look<T>(&self, look: impl Future<Output = Result<T>>) -> Result<T> {
        let (verified, seen) = tokio::join!(self.verify(), look);
        verified?;
        seen
    }

    /// The text of a site's file, which must not be another service's.
    pub(crate) async fn site(&self, path: &str) -> Result<Option<String>> {
        let text = self.text(path).await?;
        if let Some(service) = text.as_deref().and_then(service_of).filter(|service| *service != self.config.service) {
            let what = format!("{path} belongs to the service {service}, and not to {}", self.config.service);
            let error = Error::new(ErrorKind::Conflict, what).with_reason(Reason::OtherService).not_applied();
            return Err(error.with("host", &self.host).with_hint("give each service files of its own"));
        }
        Ok(text)
    }

    /// The text of a file on the host.
    pub(crate) async fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.host.read(path).await.map_err(|error| error.not_applied().with("host", &self.host))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The addresses of an instance that nginx is to connect to; the configured ones where it reports none.
    pub(crate) fn addresses_of(&self, slot: Slot, instance: &bluegreen_core::Instance) -> Result<Vec<String>> {
        let endpoints = instance.endpoints();
        let name = self.config.endpoint.as_deref().or(endpoints.first().map(|first| first.name.as_str()));
        let named = endpoints.iter().filter(|endpoint| Some(endpoint.name.as_str()) == name);
        let addresses: Vec<_> =
            named.map(|endpoint| crate::config::address_of(&endpoint.address)).collect::<Result<_>>()?;
        match addresses.is_empty() {
            false => Ok(addresses),
            true if !self.config.slots.of(slot).is_empty() => Ok(self.config.slots.of(slot).to_vec()),
            true => Err(Error::config(format!("the instance in {slot} is {instance}, and has no endpoint for nginx"))
                .with("endpoint", name.unwrap_or("any"))
                .with_hint("let the runtime report one, or set `.slots(([\"host:port\"], [\"host:port\"]))`")),
        }
    }

    /// The version that the site is to name for an instance, where it names any.
    pub(crate) fn named_version(&self, instance: &bluegreen_core::Instance) -> Option<bluegreen_core::Version> {
        instance.version().filter(|_| self.config.release_headers).cloned()
    }

    /// The addresses that a site's text holds.
    pub(crate) fn said(&self, text: Option<&str>) -> SlotAddresses {
        text.and_then(SlotAddresses::in_site).unwrap_or_default()
    }

    /// The addresses that a site's text holds; those of the configuration for what it does not.
    pub(crate) fn known(&self, text: Option<&str>) -> SlotAddresses {
        let mut slots = self.said(text);
        for slot in Slot::BOTH {
            if slots.of(slot).is_empty() {
                *slots.of_mut(slot) = self.config.slots.of(slot).to_vec();
            }
        }
        slots
    }
}
