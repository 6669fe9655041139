use bluegreen_core::{Result, Slot, sha256_hex};
use serde::Serialize;

use super::quote::quoted;
use crate::config::{BucketBy, Content, NginxConfig};
use crate::nginx_version::NginxVersion;
use crate::slot_addresses::{self, SlotAddresses};

/// The header with which a site says what it is.
pub(crate) const HEADER: &str = "X-Bluegreen-Router";

/// From this version on, a reload can spare idle connections: nginx's change log, `keepalive_min_timeout`.
const KEEPALIVE_MIN_TIMEOUT: NginxVersion = NginxVersion(1, 27, 4);

/// From this version on, nginx keeps connections to upstreams unless told not to: its change log, `keepalive`.
const UPSTREAM_KEEPALIVE: NginxVersion = NginxVersion(1, 29, 7);

/// All that the templates can say, ready to be written: checked, and quoted where it must be.
#[derive(Debug, Serialize)]
pub(super) struct Context<'a> {
    service: &'a str,
    /// Goes in front of every name that nginx knows globally, so that services do not meet.
    name: String,
    pub(super) id: String,
    header: &'static str,
    marker: &'static str,
    addresses: String,
    id_path: &'a str,
    live: String,
    listen: Vec<String>,
    tls_listen: Vec<String>,
    default_server: &'static str,
    server_names: &'a [String],
    own_host: String,
    certificate: &'a str,
    key: &'a str,
    redirect: bool,
    redirect_port: String,
    bucket: &'static str,
    bucket_key: &'static str,
    bucket_comment: &'static str,
    cookie: &'a str,
    slots: Vec<SlotContext<'a>>,
    slot: SlotContext<'a>,
    request_headers: Vec<Header<'a>>,
    response_headers: Vec<Header<'a>>,
    locations: Vec<LocationContext<'a>>,
    /// Where the app answers.
    app_locations: Vec<String>,
    /// Whether each request is given to a slot, and not the whole site.
    is_divided: bool,
    includes: &'a [String],
    read_timeout_ms: Option<u128>,
    max_body_size: Option<u64>,
    stream_uploads: bool,
    answer_headers: u32,
    release_headers: bool,
    keepalive_min_timeout: bool,
    upstream_keepalive_off: bool,
}

#[derive(Debug, Clone, Serialize)]
struct SlotContext<'a> {
    name: &'static str,
    servers: &'a [String],
    backups: &'a [String],
    version: String,
}

#[derive(Debug, Serialize)]
struct Header<'a> {
    name: &'a str,
    value: String,
}

#[derive(Debug, Serialize)]
struct LocationContext<'a> {
    path: String,
    kind: &'static str,
    target: String,
    status: Option<&'a u16>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        config: &'a NginxConfig,
        slots: &'a SlotAddresses,
        slot: Option<Slot>,
        version: Option<NginxVersion>,
    ) -> Result<Self> {
        let has = |from: NginxVersion| version.is_some_and(|version| version >= from);
        let tls_listen = config.tls_listeners();
        let redirect_port =
            tls_listen.first().and_then(|listen| listen.rsplit(':').next()).filter(|port| *port != "443");
        let (bucket, bucket_key, bucket_comment, cookie) = match &config.bucket_by {
            BucketBy::Request => ("key", "$connection-$connection_requests", "Each request for itself.", ""),
            BucketBy::ClientAddress => ("key", "$binary_remote_addr", "By the client's address.", ""),
            BucketBy::Cookie(name) => ("cookie", "", "By a cookie that holds the client's bucket.", name.as_str()),
        };
        let context = |slot: Slot| SlotContext {
            name: slot.as_str(),
            servers: slots.of(slot),
            // A backup of nothing would be all there is.
            backups: if config.backup && !slots.of(slot).is_empty() { slots.of(slot.other()) } else { &[] },
            version: quoted(slots.version(slot).map_or("", |version| version.as_str())),
        };
        let name = format!("bg_{}", identifier(&config.service));
        let app_locations = app_locations(config, &name);
        Ok(Self {
            service: &config.service,
            name,
            id: String::new(),
            header: HEADER,
            marker: slot_addresses::MARKER,
            addresses: slots.to_json()?,
            id_path: &config.id_path,
            live: config.flag_link_path(),
            listen: config.plain_listeners(),
            redirect: !tls_listen.is_empty() && !config.tls_only,
            redirect_port: redirect_port.map_or_else(String::new, |port| format!(":{port}")),
            tls_listen,
            default_server: if config.default_server { " default_server" } else { "" },
            server_names: &config.server_names,
            own_host: own_host(config),
            certificate: config.tls.as_ref().map_or("", |tls| &tls.certificate),
            key: config.tls.as_ref().map_or("", |tls| &tls.key),
            bucket,
            bucket_key,
            bucket_comment,
            cookie,
            slots: Slot::BOTH.map(context).to_vec(),
            slot: context(slot.unwrap_or(Slot::Blue)),
            request_headers: headers(&config.request_headers),
            response_headers: headers(&config.response_headers),
            locations: config.locations.iter().map(location).collect(),
            app_locations,
            is_divided: slot.is_none(),
            includes: &config.includes,
            read_timeout_ms: config.read_timeout.map(|timeout| timeout.as_millis()),
            max_body_size: config.max_body_size,
            stream_uploads: config.stream_uploads,
            answer_headers: config.answer_headers,
            release_headers: config.release_headers,
            keepalive_min_timeout: has(KEEPALIVE_MIN_TIMEOUT),
            upstream_keepalive_off: has(UPSTREAM_KEEPALIVE),
        })
    }
}

/// The host name that the app is told where a request has none. nginx's own choice is the first server name as it is
/// written, which is no host name where it has a wildcard, and nothing where there is none.
fn own_host(config: &NginxConfig) -> String {
    match config.server_names.first() {
        None => "$server_addr".to_owned(),
        Some(name) => name.strip_prefix("*.").unwrap_or("$host").to_owned(),
    }
}

fn headers(headers: &std::collections::BTreeMap<String, String>) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| Header { name, value: quoted(value) }).collect()
}

/// The second one is for assets that are in no directory.
fn app_locations(config: &NginxConfig, name: &str) -> Vec<String> {
    let has_assets = config.locations.iter().any(|location| matches!(location.content, Content::Assets(_)));
    let beside = has_assets.then(|| format!("@{name}_app"));
    std::iter::once("/".to_owned()).chain(beside).collect()
}

fn location(location: &crate::config::Location) -> LocationContext<'_> {
    let (path, kind, target, status) = match &location.content {
        Content::Files(directory) => (location.path.clone(), "files", directory.clone(), None),
        Content::Assets(directory) => (location.path.clone(), "assets", directory.clone(), None),
        Content::Proxy(address) => (location.path.clone(), "proxy", address.clone(), None),
        Content::Respond(status, text) => (format!("= {}", location.path), "respond", quoted(text), Some(status)),
    };
    LocationContext { path, kind, target, status }
}

/// A service's name as a part of nginx's variable names, which know no `.`, `-` and `+`.
fn identifier(service: &str) -> String {
    if service.len() <= READABLE && service.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return service.to_owned();
    }
    let readable = service.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let readable: String = readable.take(READABLE).collect();
    format!("{readable}_{}", &sha256_hex(service)[..8])
}

/// nginx's table of variables has room for names of about 60 characters, ours being longer than this by up to 30.
const READABLE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_with_similar_names_have_different_identifiers() {
        let names = ["shop", "shop.eu", "shop-eu", "shop_eu", "shop+eu", "Shop"];
        let identifiers: std::collections::BTreeSet<_> = names.iter().map(|name| identifier(name)).collect();
        assert_eq!(identifiers.len(), names.len());
        for identifier in identifiers {
            assert!(identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{identifier}");
        }
    }
}
