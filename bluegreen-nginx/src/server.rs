//! One nginx on one host, with the site of one service.

use std::sync::Arc;

use bluegreen_core::{Command, Error, Host, Result, Slot, Tunnel};
use reqwest::Client;
use reqwest::header::HOST;
use tokio::sync::OnceCell;

use crate::answer::Answer;
use crate::client::client;
use crate::config::{NginxConfig, Probe};
use crate::error::Failure;
use crate::script::{Reply, Script};
use crate::site::{HEADER, NginxVersion, SlotAddresses};

/// For `nginx -v`.
const VERSION_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) config: NginxConfig,
    client: Client,
    version: OnceCell<Option<NginxVersion>>,
}

/// A way to ask nginx; it stays open while this lives.
#[derive(Debug)]
pub(crate) struct Line {
    base: String,
    host_name: Option<String>,
    _tunnel: Option<Tunnel>,
}

impl Server {
    pub(crate) fn new(host: impl Host, config: NginxConfig) -> Result<Self> {
        config.check()?;
        let encrypted = matches!(config.probe_at(), Probe::Url(url) if url.starts_with("https"));
        Ok(Self { host: Arc::new(host), client: client(encrypted)?, config, version: OnceCell::new() })
    }

    pub(crate) async fn run(&self, script: Script) -> Result<Reply> {
        script.run(&self.host, &self.config).await
    }

    /// Opens the way to nginx. That nginx is there is not known yet.
    pub(crate) async fn line(&self) -> Result<Line> {
        match self.config.probe_at() {
            Probe::Url(url) => {
                let base = crate::config::url(&url)?.as_str().trim_end_matches('/').to_owned();
                Ok(Line { base, host_name: None, _tunnel: None })
            }
            Probe::Host(address) => {
                let tunnel = self.host.tunnel(&address).await.map_err(Error::not_applied)?;
                let base = format!("http://{}", tunnel.address());
                Ok(Line { base, host_name: Some(self.config.host_name()), _tunnel: Some(tunnel) })
            }
        }
    }

    /// Asks nginx who gets a request, or a request of this bucket, over a connection of its own.
    pub(crate) async fn ask(&self, line: &Line, bucket: Option<u8>) -> Result<Answer> {
        let query = bucket.map_or_else(String::new, |bucket| format!("?bucket={bucket:02}"));
        let url = format!("{}{}{query}", line.base, self.config.id_path);
        let mut request = self.client.get(&url);
        if let Some(name) = &line.host_name {
            request = request.header(HOST, name);
        }
        let answer = async {
            let response = request.send().await?;
            let header = response.headers().get(HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            Ok(Answer::new(status, header.as_deref(), &response.text().await?))
        };
        answer.await.map_err(|error| {
            let error = Error::from(Failure::Request(error)).trying("ask nginx who is live").with("host", &self.host);
            let error = match &line.host_name {
                Some(name) => error.with("url", &url).with("server name", name),
                None => error.with("url", &url),
            };
            error.advice("is nginx running, and does it listen there?")
        })
    }

    /// The version of the server, where it says so; asked once.
    pub(crate) async fn version(&self) -> Result<Option<NginxVersion>> {
        let ask = || async {
            let words = self.config.version_words();
            let script = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; \"$@\"";
            let command = Command::script(script).args(words).sudo(self.config.sudo).timeout(VERSION_LIMIT);
            let output = self.host.run(&command).await.map_err(|error| error.not_applied())?;
            Ok::<_, Error>(NginxVersion::parse(&output.error_text()))
        };
        self.version.get_or_try_init(ask).await.copied()
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
                .advice(format!("let the runtime report one, or set `.slot(Slot::{slot:?}, \"host:port\")`"))),
        }
    }

    /// The addresses that a site's text holds; those of the configuration for what it does not.
    pub(crate) fn known(&self, text: Option<&str>) -> SlotAddresses {
        let mut slots = text.and_then(SlotAddresses::in_site).unwrap_or_default();
        for slot in Slot::BOTH {
            if slots.of(slot).is_empty() {
                *slots.of_mut(slot) = self.config.slots.of(slot).to_vec();
            }
        }
        slots
    }
}
