//! [`NginxConfig`]: what the site is, where it lives on the host, and how nginx is tested and reloaded.

mod bucket;
mod check;
mod location;

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Result, Slot};
use serde::Deserialize;

use crate::slot_addresses::SlotAddresses;

pub use bucket::BucketBy;
pub use location::Location;

pub(crate) use check::{address_of, url};
pub(crate) use location::Content;

/// How long nginx may take to run a reload to its end, and a switch to show, unless
/// [`confirm_deadline`](NginxConfig::confirm_deadline) says otherwise: 10 seconds. A reload was seen to take 0.13 s on a
/// small idle machine, and nginx alone retries a busy port for 2.5 s.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(10);

/// How large the headers of an app's answer may be, in bytes, unless [`answer_headers`](NginxConfig::answer_headers) says
/// otherwise: 32 KiB, which is what nginx itself takes of a request's headers (`large_client_header_buffers 4 8k`). With
/// nginx's own 4 KiB for an answer, one that sets a few long cookies becomes a 502.
pub const ANSWER_HEADERS: u32 = 32 << 10;

/// Answers in a row, each over a connection of its own, that confirm a reload.
pub const ANSWERS_IN_A_ROW: u32 = 5;

/// The site of one service, for both routers. Values are checked when a router is made of it, or when it is rendered:
/// nothing in here can add a directive to the configuration.
///
/// ```
/// use bluegreen_core::Slot;
/// use bluegreen_nginx::{BucketBy, Location, NginxConfig};
///
/// let config = NginxConfig::new("shop")
///     .server_name("shop.example.com")
///     .listen("80")
///     .tls("/etc/ssl/shop.pem", "/etc/ssl/private/shop.key")
///     .bucket_by(BucketBy::Cookie("shop_bucket".into()))
///     .location(Location::files("/assets/", "/srv/shop/assets/"))
///     .slot(Slot::Blue, "127.0.0.1:4000")
///     .slot(Slot::Green, "127.0.0.1:4001");
/// let site = config.render()?;
/// assert!(site.contains("server_name shop.example.com;"));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
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
///     sudo = true
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
    pub(crate) state_directory: Option<String>,
    pub(crate) site_file: Option<String>,
    pub(crate) slot_files: BTreeMap<Slot, String>,
    pub(crate) link: Option<String>,
    pub(crate) own_files: bool,
    pub(crate) overwrite_changes: bool,
    #[serde(rename = "nginx_command")]
    pub(crate) nginx: Vec<String>,
    #[serde(rename = "test_command")]
    pub(crate) test: Option<Vec<String>>,
    #[serde(rename = "reload_command")]
    pub(crate) reload: Option<Vec<String>>,
    pub(crate) sudo: bool,
    pub(crate) pid_file: String,
    pub(crate) error_log: Option<String>,
    #[serde(skip)]
    pub(crate) confirm_deadline: Duration,
    pub(crate) answers_in_a_row: u32,
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
            answer_headers: ANSWER_HEADERS,
            id_path: "/deployment_id".to_owned(),
            probe: None,
            state_directory: None,
            site_file: None,
            slot_files: BTreeMap::new(),
            link: None,
            own_files: false,
            overwrite_changes: false,
            nginx: vec!["nginx".to_owned()],
            test: None,
            reload: None,
            sudo: false,
            pid_file: "/run/nginx.pid".to_owned(),
            error_log: Some("/var/log/nginx/error.log".to_owned()),
            confirm_deadline: CONFIRM_DEADLINE,
            answers_in_a_row: ANSWERS_IN_A_ROW,
        }
    }

    /// Sets the service, for a configuration that was read from a file without one.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Adds a plain HTTP listener: `80`, `127.0.0.1:8080`, `[::]:80`. Port 80 when none is added, unless the site is
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

    /// Says where a slot listens as seen from nginx, `host:port`; several calls add several servers. Used until the
    /// runtime's own endpoints are attached, and where a runtime reports none.
    pub fn slot(mut self, slot: Slot, address: impl Into<String>) -> Self {
        self.slots.of_mut(slot).push(address.into());
        self
    }

    /// Which of an instance's endpoints nginx connects to, by name. Unless set: those named like its first one.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoint = Some(name.into());
        self
    }

    /// Makes the other slot the `backup` server of each: it gets a request when the slot that should have it cannot be
    /// connected to. Off unless set, because a request can then reach a release that nobody promoted.
    ///
    /// A server counts as failed for 30 s after 3 failures.
    pub fn backup(mut self, yes: bool) -> Self {
        self.backup = yes;
        self
    }

    /// What decides which requests belong to the share of a slot. Only [`NginxRouter`](crate::NginxRouter) divides
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

    /// How long the app may be silent in a response or a WebSocket before nginx gives up; nginx's 60 s unless set.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = Some(timeout);
        self
    }

    /// The largest request body in bytes, 0 for any; nginx's 1 MiB unless set.
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = Some(bytes);
        self
    }

    /// Hands request bodies to the app as they arrive.
    ///
    /// Unless set, nginx reads a whole body first, and connects to the app only then. Such an upload belongs to the slot
    /// that was live when it began, and is not counted as in flight until it is complete.
    pub fn stream_uploads(mut self, yes: bool) -> Self {
        self.stream_uploads = yes;
        self
    }

    /// Names the slot and its version on each of the app's answers, as `X-Bluegreen-Slot` and `X-Bluegreen-Version`; not
    /// unless set. A check of the public address can confirm a deploy by them where the app cannot tell its version:
    /// `HttpCheck::at(url).version_from_router()`. Whoever can reach the site can read them.
    ///
    /// Each deploy then takes a reload, also where the slots have fixed addresses. It cannot be combined with
    /// [`backup`](Self::backup), where the other slot may have given the answer.
    pub fn release_headers(mut self, yes: bool) -> Self {
        self.release_headers = yes;
        self
    }

    /// How large the headers of an app's answer may be, in bytes; [`ANSWER_HEADERS`] unless set. An answer with more is a 502,
    /// and nginx's error log says "upstream sent too big header".
    ///
    /// nginx keeps one buffer of this size for each request that the app is answering, and up to twice as much beside it
    /// while a client reads slower than the app writes. From 4 KiB to 1 MiB.
    pub fn answer_headers(mut self, bytes: u32) -> Self {
        self.answer_headers = bytes;
        self
    }

    /// The path under which nginx says which slot is live; `/deployment_id` unless set.
    pub fn deployment_id(mut self, path: impl Into<String>) -> Self {
        self.id_path = path.into();
        self
    }

    /// Where nginx is asked, as seen from the host: `127.0.0.1:8080`. Plain HTTP. Unless set: the first plain listener.
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

    /// Where the flags (or, for the symlink router, only the lock) live: `/var/lib/bluegreen/<service>` unless set.
    ///
    /// It must survive a reboot: `/run`, `/var/run` and `/dev/shm`, and what is below them, are refused. `/tmp` is not,
    /// although many systems empty it at boot: use it for trials only. nginx's workers must be able to enter the directory;
    /// what is created here is open to all.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.state_directory = Some(path.into());
        self
    }

    /// The file of [`NginxRouter`](crate::NginxRouter)'s site: `/etc/nginx/conf.d/<service>.conf` unless set. nginx's
    /// configuration must include it.
    pub fn site_file(mut self, path: impl Into<String>) -> Self {
        self.site_file = Some(path.into());
        self
    }

    /// The file of a slot's site for [`NginxSymlinkRouter`](crate::NginxSymlinkRouter):
    /// `/etc/nginx/sites-available/<service>-<slot>` unless set.
    pub fn slot_file(mut self, slot: Slot, path: impl Into<String>) -> Self {
        self.slot_files.insert(slot, path.into());
        self
    }

    /// The link that [`NginxSymlinkRouter`](crate::NginxSymlinkRouter) switches: `/etc/nginx/sites-enabled/<service>`
    /// unless set.
    pub fn link(mut self, path: impl Into<String>) -> Self {
        self.link = Some(path.into());
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
    /// What is in flight is counted by the addresses in the line `# slots:`, else by those of [`slot`](Self::slot); without
    /// either it is not known, and a drain waits its whole time.
    pub fn own_files(mut self, yes: bool) -> Self {
        self.own_files = yes;
        self
    }

    /// Overwrites what others have put into the site's files, as certbot does. Unless set, an [`attach`](bluegreen_core::Router::attach)
    /// that would have to write such a file is refused with [`Reason::ChangedElsewhere`](bluegreen_core::Reason) and the lines
    /// that differ, and a plan and a status say so before. Damage that nginx cannot load is repaired either way.
    pub fn overwrite_changes(mut self, yes: bool) -> Self {
        self.overwrite_changes = yes;
        self
    }

    /// The nginx command, with what it needs to find its configuration: `["nginx", "-c", "/srv/nginx.conf"]`,
    /// `["sudo", "-n", "nginx"]`. `["nginx"]` unless set.
    pub fn nginx_command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.nginx = words.into_iter().map(Into::into).collect();
        self
    }

    /// How the configuration is tested; the nginx command with `-t` unless set.
    pub fn test_command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.test = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// How nginx is reloaded: `["systemctl", "reload", "nginx"]`; the nginx command with `-s reload` unless set.
    pub fn reload_command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.reload = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Runs all commands on the host as root, by `sudo -n`.
    ///
    /// What runs is `sudo -n -- sh -c <script>`, because files, lock, test and reload belong into one step. The account so
    /// needs a sudoers rule for the shell, which is a rule for everything; one for nginx or systemctl is not enough:
    ///
    /// ```text
    /// deploy ALL=(root) NOPASSWD: /bin/sh
    /// ```
    ///
    /// The narrow alternative is to leave this off, to let nginx alone run by sudo, and to give the account the directories
    /// of the site's file (or of the slots' files and the link) and of the state:
    ///
    /// ```
    /// # let config = bluegreen_nginx::NginxConfig::new("shop");
    /// let config = config.nginx_command(["sudo", "-n", "nginx"]);
    /// ```
    ///
    /// ```text
    /// deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -v, /usr/sbin/nginx -t, /usr/sbin/nginx -T, /usr/sbin/nginx -s reload
    /// ```
    ///
    /// `nginx -T` is for errors only: it tells which other site has the same server name. Only root may see which connections are nginx's, so that `in_flight` then counts all of the host to the slot's
    /// addresses; and where the account may not read the [`error_log`](Self::error_log), a reload that fails after the test
    /// shows as a timeout. The rule is no wall against the account's owner: nginx opens as root what its configuration names.
    pub fn sudo(mut self, yes: bool) -> Self {
        self.sudo = yes;
        self
    }

    /// nginx's pid file, `/run/nginx.pid` unless set. Its master's workers tell when a reload is over.
    pub fn pid_file(mut self, path: impl Into<String>) -> Self {
        self.pid_file = path.into();
        self
    }

    /// nginx's error log, `/var/log/nginx/error.log` unless set. What a reload writes there decides whether it worked.
    pub fn error_log(mut self, path: impl Into<String>) -> Self {
        self.error_log = Some(path.into());
        self
    }

    /// nginx's error log is no file on the host: what a reload complains about is not seen, and shows as a timeout.
    pub fn no_error_log(mut self) -> Self {
        self.error_log = None;
        self
    }

    /// How long a reload or a switch may take to show; [`CONFIRM_DEADLINE`] unless set.
    pub fn confirm_deadline(mut self, limit: Duration) -> Self {
        self.confirm_deadline = limit;
        self
    }

    /// How many answers in a row confirm a reload; [`ANSWERS_IN_A_ROW`] unless set.
    pub fn answers_in_a_row(mut self, count: u32) -> Self {
        self.answers_in_a_row = count.max(1);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check::check(self)
    }

    pub(crate) fn state_directory_path(&self) -> String {
        self.state_directory.clone().unwrap_or_else(|| format!("/var/lib/bluegreen/{}", self.service))
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
        self.site_file.clone().unwrap_or_else(|| format!("/etc/nginx/conf.d/{}.conf", self.service))
    }

    pub(crate) fn slot_file_path(&self, slot: Slot) -> String {
        let usual = || format!("/etc/nginx/sites-available/{}-{slot}", self.service);
        self.slot_files.get(&slot).cloned().unwrap_or_else(usual)
    }

    pub(crate) fn link_path(&self) -> String {
        self.link.clone().unwrap_or_else(|| format!("/etc/nginx/sites-enabled/{}", self.service))
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

    pub(crate) fn test_words(&self) -> Vec<String> {
        self.test.clone().unwrap_or_else(|| self.nginx_with(&["-t"]))
    }

    pub(crate) fn reload_words(&self) -> Vec<String> {
        self.reload.clone().unwrap_or_else(|| self.nginx_with(&["-s", "reload"]))
    }

    /// The test that prints the configuration too.
    pub(crate) fn dump_words(&self) -> Vec<String> {
        let mut words = self.test_words();
        match words.iter_mut().rfind(|word| *word == "-t") {
            Some(word) => *word = "-T".to_owned(),
            None => words = self.nginx_with(&["-T"]),
        }
        words
    }

    pub(crate) fn version_words(&self) -> Vec<String> {
        self.nginx_with(&["-v"])
    }

    fn nginx_with(&self, args: &[&str]) -> Vec<String> {
        self.nginx.iter().cloned().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
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
