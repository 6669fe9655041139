//! [`NginxConfig`]: what the site is, where it lives on the host, and how nginx is tested and reloaded.

mod bucket;
mod check;
mod commands;
mod layout;
mod location;

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{PerSlot, Result, Slot};
use serde::Deserialize;

use crate::slot_addresses::SlotAddresses;

pub use bucket::BucketBy;
pub use commands::Commands;
pub use layout::Layout;
pub use location::Location;

pub(crate) use check::{address_of, url};
pub(crate) use location::Content;

/// Default for how long nginx may take to run a reload to its end, and a switch to show
/// ([`confirm_deadline`](NginxConfig::confirm_deadline)): 10 s. A reload was seen to take 0.13 s on a
/// small idle machine, and nginx alone retries a busy port for 2.5 s.
pub const DEFAULT_CONFIRM_DEADLINE: Duration = Duration::from_secs(10);

/// Default for how large the headers of an app's answer may be, in bytes ([`answer_headers`](NginxConfig::answer_headers)):
/// 32 KiB, which is what nginx itself takes of a request's headers (`large_client_header_buffers 4 8k`). With
/// nginx's own 4 KiB for an answer, one that sets a few long cookies becomes a 502.
pub const DEFAULT_ANSWER_HEADERS: u32 = 32 << 10;

/// Default for how many answers in a row, each over a connection of its own, confirm a reload: 5.
pub const DEFAULT_ANSWERS_IN_A_ROW: u32 = 5;

/// The site of one service, for both routers. Values are checked when a router is made of it, or when it is rendered:
/// nothing in here can add a directive to the configuration.
///
/// ```
/// use bluegreen_nginx::{BucketBy, Location, NginxConfig};
///
/// let config = NginxConfig::new("shop")
///     .server_name("shop.example.com")
///     .listen("80")
///     .tls("/etc/ssl/shop.pem", "/etc/ssl/private/shop.key")
///     .bucket_by(BucketBy::Cookie("shop_bucket".into()))
///     .location(Location::files("/assets/", "/srv/shop/assets/"))
///     .slots((["127.0.0.1:4000"], ["127.0.0.1:4001"]));
/// let site = config.render()?;
/// assert!(site.contains("server_name shop.example.com;"));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// Where its files are on the host is its [`layout`](Self::layout), and how nginx is run there, its
/// [`commands`](Self::commands).
///
/// It can also be a part of a configuration file of your own. The keys are the names of the methods, in the plural where
/// a method adds to a list; what is not there is as [`new`](Self::new) has it. The two timeouts have no key.
///
/// ```
/// let config: bluegreen_nginx::NginxConfig = toml::from_str(r#"
///     service = "shop"
///     listen = ["80"]
///     server_names = ["shop.example.com"]
///     tls = { certificate = "/etc/ssl/shop.pem", key = "/etc/ssl/private/shop.key" }
///     bucket_by = { cookie = "shop_bucket" }
///     locations = [{ path = "/assets/", files = "/srv/shop/assets/" }, { path = "/ping", respond = [200, "pong"] }]
///     slots = { blue = ["127.0.0.1:4000"], green = ["127.0.0.1:4001"] }
///     probe = { url = "https://shop.example.com" }
///     commands = { sudo = true }
/// "#).unwrap();
/// assert!(config.render()?.contains("server_name shop.example.com;"));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct NginxConfig {
    pub(crate) service: String,
    pub(crate) listen: Vec<String>,
    pub(crate) server_names: Vec<String>,
    pub(crate) default_server: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) tls_only: bool,
    pub(crate) slots: SlotAddresses,
    pub(crate) endpoint: Option<String>,
    pub(crate) backup: bool,
    pub(crate) release_headers: bool,
    pub(crate) bucket_by: BucketBy,
    pub(crate) request_headers: BTreeMap<String, String>,
    pub(crate) response_headers: BTreeMap<String, String>,
    pub(crate) locations: Vec<Location>,
    pub(crate) includes: Vec<String>,
    #[serde(skip)]
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) max_body_size: Option<u64>,
    pub(crate) stream_uploads: bool,
    pub(crate) answer_headers: u32,
    #[serde(rename = "deployment_id")]
    pub(crate) id_path: String,
    pub(crate) probe: Option<Probe>,
    pub(crate) own_files: bool,
    pub(crate) overwrite_changes: bool,
    #[serde(skip)]
    pub(crate) confirm_deadline: Duration,
    pub(crate) answers_in_a_row: u32,
    pub(crate) layout: Layout,
    pub(crate) commands: Commands,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: String,
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) listen: Vec<String>,
}

/// Where the routers ask nginx who is live.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    /// An address as seen from the host, reached through [`bluegreen_core::Host::tunnel`].
    Host(String),
    /// A URL as seen from here.
    Url(String),
}

/// The site of no service yet: it is refused until it has one.
impl Default for NginxConfig {
    fn default() -> Self {
        Self::new("")
    }
}

impl NginxConfig {
    /// The site of a service: plain HTTP on port 80, files in Debian's and nginx's own usual places.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            listen: Vec::new(),
            server_names: Vec::new(),
            default_server: false,
            tls: None,
            tls_only: false,
            slots: SlotAddresses::default(),
            endpoint: None,
            backup: false,
            release_headers: false,
            bucket_by: BucketBy::Request,
            request_headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            locations: Vec::new(),
            includes: Vec::new(),
            read_timeout: None,
            max_body_size: None,
            stream_uploads: false,
            answer_headers: DEFAULT_ANSWER_HEADERS,
            id_path: "/deployment_id".to_owned(),
            probe: None,
            own_files: false,
            overwrite_changes: false,
            confirm_deadline: DEFAULT_CONFIRM_DEADLINE,
            answers_in_a_row: DEFAULT_ANSWERS_IN_A_ROW,
            layout: Layout::debian(),
            commands: Commands::new(),
        }
    }

    /// Sets the service, for a configuration that was read from a file without one.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Adds a plain HTTP listener: `80`, `127.0.0.1:8080`, `[::]:80`. Default: port 80, unless the site is
    /// [`tls_only`](Self::tls_only).
    ///
    /// With [`tls`](Self::tls) it redirects to HTTPS, except for `/deployment_id` and the extra locations.
    pub fn listen(mut self, listen: impl Into<String>) -> Self {
        self.listen.push(listen.into());
        self
    }

    /// Adds a server name: `shop.example.com`, `*.example.com`, `.example.com`.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_names.push(name.into());
        self
    }

    /// Makes it the site for requests whose host name no other site has. Needed when there is no server name.
    pub fn default_server(mut self, yes: bool) -> Self {
        self.default_server = yes;
        self
    }

    /// Serves HTTPS with this certificate chain and key (paths on the host), on port 443 unless
    /// [`tls_listen`](Self::tls_listen) says otherwise.
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        let listen = self.tls.take().map(|tls| tls.listen).unwrap_or_default();
        self.tls = Some(Tls { certificate: certificate.into(), key: key.into(), listen });
        self
    }

    /// Adds an HTTPS listener: `443`, `10.0.0.5:8443`. Call it after [`tls`](Self::tls); without it there is no
    /// certificate, and the call is refused when the values are checked.
    pub fn tls_listen(mut self, listen: impl Into<String>) -> Self {
        let tls = self.tls.get_or_insert(Tls { certificate: String::new(), key: String::new(), listen: Vec::new() });
        tls.listen.push(listen.into());
        self
    }

    /// Serves HTTPS and nothing else: no listener for plain HTTP, and so no redirect either.
    ///
    /// Such a site needs [`tls`](Self::tls) and a [`probe_url`](Self::probe_url), because nginx is asked who is live by plain
    /// HTTP otherwise; with a [`listen`](Self::listen), or without one of the two, it is refused when the values are checked.
    pub fn tls_only(mut self, yes: bool) -> Self {
        self.tls_only = yes;
        self
    }

    /// Where the servers of blue and of green listen as seen from nginx, each as `host:port`. Used until the runtime's own
    /// endpoints are attached, and where a runtime reports none.
    pub fn slots<S>(mut self, servers: impl Into<PerSlot<S>>) -> Self
    where
        S: IntoIterator<Item: Into<String>>,
    {
        let servers = servers.into().map(|servers| servers.into_iter().map(Into::into).collect());
        (*self.slots.of_mut(Slot::Blue), *self.slots.of_mut(Slot::Green)) = (servers.blue, servers.green);
        self
    }

    /// Which of an instance's endpoints nginx connects to, by name. Default: those named like its first one.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoint = Some(name.into());
        self
    }

    /// Makes the other slot the `backup` server of each: it gets a request when the slot that should have it cannot be
    /// connected to. Default: no, because a request can then reach a release that nobody promoted.
    ///
    /// A server counts as failed for 30 s after 3 failures.
    pub fn backup(mut self, yes: bool) -> Self {
        self.backup = yes;
        self
    }

    /// What decides which requests belong to the share of a slot. Default: [`BucketBy::Request`]. Only [`NginxRouter`](crate::NginxRouter) divides
    /// traffic.
    pub fn bucket_by(mut self, key: BucketBy) -> Self {
        self.bucket_by = key;
        self
    }

    /// Adds a header to each request to the app, beside `Host`, `X-Real-IP`, `X-Forwarded-For`, `-Host` and `-Proto`.
    /// The value is literal: visible ASCII and blanks, without `$`.
    pub fn request_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request_headers.insert(name.into(), value.into());
        self
    }

    /// Adds a header to each response of the app, with the same rules.
    pub fn response_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.response_headers.insert(name.into(), value.into());
        self
    }

    /// Adds a location beside the app's.
    pub fn location(mut self, location: Location) -> Self {
        self.locations.push(location);
        self
    }

    /// Includes a file of yours in the server block: for what has no method here. Path on the host, no wildcard.
    pub fn include(mut self, path: impl Into<String>) -> Self {
        self.includes.push(path.into());
        self
    }

    /// How long the app may be silent in a response or a WebSocket before nginx gives up. Default: nginx's 60 s.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = Some(timeout);
        self
    }

    /// The largest request body in bytes, 0 for any. Default: nginx's 1 MiB.
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = Some(bytes);
        self
    }

    /// Hands request bodies to the app as they arrive. Default: no.
    ///
    /// By default nginx reads a whole body first, and connects to the app only then. Such an upload belongs to the slot
    /// that was live when it began, and is not counted as in flight until it is complete.
    pub fn stream_uploads(mut self, yes: bool) -> Self {
        self.stream_uploads = yes;
        self
    }

    /// Names the slot and its version on each of the app's answers, as `X-Bluegreen-Slot` and `X-Bluegreen-Version`.
    /// Default: no. A check of the public address can confirm a deploy by them where the app cannot tell its version:
    /// `HttpCheck::builder(url).version_from_router()`. Whoever can reach the site can read them.
    ///
    /// Each deploy then takes a reload, also where the slots have fixed addresses. It cannot be combined with
    /// [`backup`](Self::backup), where the other slot may have given the answer.
    pub fn release_headers(mut self, yes: bool) -> Self {
        self.release_headers = yes;
        self
    }

    /// How large the headers of an app's answer may be, in bytes. Default: 32 KiB ([`DEFAULT_ANSWER_HEADERS`]). An answer with more is a 502,
    /// and nginx's error log says "upstream sent too big header".
    ///
    /// nginx keeps one buffer of this size for each request that the app is answering, and up to twice as much beside it
    /// while a client reads slower than the app writes. From 4 KiB to 1 MiB.
    pub fn answer_headers(mut self, bytes: u32) -> Self {
        self.answer_headers = bytes;
        self
    }

    /// The path under which nginx says which slot is live. Default: `/deployment_id`.
    pub fn deployment_id(mut self, path: impl Into<String>) -> Self {
        self.id_path = path.into();
        self
    }

    /// Where nginx is asked, as seen from the host: `127.0.0.1:8080`. Plain HTTP. Default: the first plain listener.
    pub fn probe(mut self, address: impl Into<String>) -> Self {
        self.probe = Some(Probe::Host(address.into()));
        self
    }

    /// Where nginx is asked, as seen from here: `https://shop.example.com`. For sites that are [`tls_only`](Self::tls_only).
    /// Certificates are verified with the system's roots.
    pub fn probe_url(mut self, url: impl Into<String>) -> Self {
        self.probe = Some(Probe::Url(url.into()));
        self
    }

    /// The site's files are yours: they are switched, and never written. Attaching a slot does nothing then.
    ///
    /// The symlink router needs a `/deployment_id` that answers `blue` or `green`.
    ///
    /// The flag router needs more: begin with what [`render`](Self::render) writes, change what you like, and keep
    ///
    /// - `split_clients` with its hundred buckets in their order, and all `map`s behind it;
    /// - both upstreams by their names;
    /// - in the server block `open_file_cache off`, `disable_symlinks off`, the `set` and the two `if`s behind them, with the
    ///   path to the flags;
    /// - the location of [`deployment_id`](Self::deployment_id) as a whole: by its header the router knows its site;
    /// - in `location /` the `if` that answers 503, the `proxy_pass` to the upstream that is named by a variable, and with
    ///   [`BucketBy::Cookie`] the cookie.
    ///
    /// What is in flight is counted by the addresses in the line `# slots:`, else by those of [`slots`](Self::slots); without
    /// either it is not known, and a drain waits its whole time.
    pub fn own_files(mut self, yes: bool) -> Self {
        self.own_files = yes;
        self
    }

    /// Overwrites what others have put into the site's files, as certbot does. Default: no; an [`attach`](bluegreen_core::Router::attach)
    /// that would have to write such a file is refused with [`Reason::ChangedElsewhere`](bluegreen_core::Reason) and the lines
    /// that differ, and a plan and a status say so before. Damage that nginx cannot load is repaired either way.
    pub fn overwrite_changes(mut self, yes: bool) -> Self {
        self.overwrite_changes = yes;
        self
    }

    /// How long a reload or a switch may take to show. Default: 10 s ([`DEFAULT_CONFIRM_DEADLINE`]).
    pub fn confirm_deadline(mut self, limit: Duration) -> Self {
        self.confirm_deadline = limit;
        self
    }

    /// How many answers in a row confirm a reload. Default: 5 ([`DEFAULT_ANSWERS_IN_A_ROW`]).
    pub fn answers_in_a_row(mut self, count: u32) -> Self {
        self.answers_in_a_row = count.max(1);
        self
    }

    /// Where the files are on the host. Default: [`Layout::debian`].
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// How nginx is run, tested and reloaded. Default: [`Commands::new`].
    pub fn commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check::check(self)
    }

    pub(crate) fn state_directory_path(&self) -> String {
        self.layout.state_directory_of(&self.service)
    }

    /// Where a copy of a site's file is kept: `written` or `before`.
    pub(crate) fn kept_path(&self, path: &str, what: &str) -> String {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        format!("{}/sites/{name}.{what}", self.state_directory_path())
    }

    pub(crate) fn flag_link_path(&self) -> String {
        format!("{}/live", self.state_directory_path())
    }

    pub(crate) fn site_file_path(&self) -> String {
        self.layout.site_file_of(&self.service)
    }

    pub(crate) fn slot_file_path(&self, slot: Slot) -> String {
        self.layout.slot_file_of(&self.service, slot)
    }

    pub(crate) fn link_path(&self) -> String {
        self.layout.link_of(&self.service)
    }

    pub(crate) fn plain_listeners(&self) -> Vec<String> {
        if self.listen.is_empty() && !self.tls_only { vec!["80".to_owned()] } else { self.listen.clone() }
    }

    pub(crate) fn tls_listeners(&self) -> Vec<String> {
        match &self.tls {
            None => Vec::new(),
            Some(tls) if tls.listen.is_empty() => vec!["443".to_owned()],
            Some(tls) => tls.listen.clone(),
        }
    }

    /// The host name that reaches this site and no other.
    pub(crate) fn host_name(&self) -> String {
        match self.server_names.first() {
            None => "localhost".to_owned(),
            Some(name) => match (name.strip_prefix("*."), name.strip_prefix('.')) {
                (Some(domain), _) => format!("deployment-id.{domain}"),
                (_, Some(domain)) => domain.to_owned(),
                _ => name.clone(),
            },
        }
    }

    /// Where nginx is asked: an address on the host, or a URL.
    pub(crate) fn probe_at(&self) -> Probe {
        self.probe.clone().unwrap_or_else(|| {
            let listeners = self.plain_listeners();
            Probe::Host(listeners.first().map_or_else(String::new, |listen| check::reachable(listen)))
        })
    }
}
