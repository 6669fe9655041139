//! What a value may hold. All that reaches a configuration file passes through here first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bluegreen_core::{Error, Result, ServiceName, host_port};

use super::{BucketBy, Content, NginxConfig, Probe};

/// nginx refuses a word of 4096 bytes or more; so long a value is a mistake anyway.
const MAX_LENGTH: usize = 1000;

/// In memory on every Linux, so that a reboot would lose the split.
const VOLATILE: [&str; 3] = ["/run", "/var/run", "/dev/shm"];

/// The request headers of the templates.
const WRITTEN: [&str; 7] =
    ["Host", "Connection", "Upgrade", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"];

pub(super) fn check(config: &NginxConfig) -> Result<()> {
    ServiceName::new(&config.service)?;
    config.plain_listeners().iter().chain(&config.tls_listeners()).try_for_each(|text| listen(text))?;
    config.server_names.iter().try_for_each(|text| server_name(text))?;
    if config.server_names.is_empty() && !config.default_server {
        return Err(
            Error::config("the site has no server name").with_hint("give it one, or make it the default server")
        );
    }
    if let Some(tls) = &config.tls {
        path(&tls.certificate)?;
        path(&tls.key)?;
    }
    if config.tls_only {
        tls_only(config)?;
    }
    for slot in bluegreen_core::Slot::BOTH {
        config.slots.of(slot).iter().try_for_each(|text| address(text))?;
    }
    if let BucketBy::Cookie(name) = &config.bucket_by {
        cookie(name)?;
    }
    if let Some(name) = config.request_headers.keys().find(|name| WRITTEN.iter().any(|w| w.eq_ignore_ascii_case(name)))
    {
        return Err(refused("a request header", name, "the site sets it already, and the app would get it twice"));
    }
    for (name, value) in config.request_headers.iter().chain(&config.response_headers) {
        header_name(name)?;
        literal(value).map_err(|error| error.with("header", name))?;
    }
    if config.release_headers && (config.backup || config.own_files) {
        let with = if config.backup { "a backup: the other slot may have answered" } else { "site files of your own" };
        return Err(Error::config(format!("the headers that name slot and version cannot be combined with {with}")));
    }
    config.includes.iter().try_for_each(|text| path(text))?;
    locations(config)?;
    if !(4 << 10..=1 << 20).contains(&config.answer_headers) {
        let bytes = config.answer_headers;
        return Err(Error::config(format!("{bytes} bytes cannot be the size of answer headers: use 4 KiB to 1 MiB")));
    }
    match config.probe_at() {
        Probe::Host(text) => address(&text)?,
        Probe::Url(text) => drop(url(&text)?),
    }
    let files = [config.site_file_path(), config.link_path(), config.layout.pid_file.clone()];
    let slot_files = bluegreen_core::Slot::BOTH.map(|slot| config.slot_file_path(slot));
    files.iter().chain(&slot_files).chain(&config.layout.error_log).try_for_each(|text| path(text))?;
    state_directory(&config.state_directory_path())?;
    if config.commands.has_an_empty_one() {
        return Err(Error::config("an nginx command is empty"));
    }
    Ok(())
}

fn refused(what: &str, text: &str, rule: &str) -> Error {
    Error::config(format!("{text:?} cannot be {what}: {rule}"))
}

fn short(what: &str, text: &str) -> Result<()> {
    match text.len() {
        0 => Err(refused(what, text, "it is empty")),
        length if length > MAX_LENGTH => Err(Error::config(format!("{what} has {length} bytes, {MAX_LENGTH} at most"))),
        _ => Ok(()),
    }
}

/// `80`, `127.0.0.1:8080`, `[::]:80`.
fn listen(text: &str) -> Result<()> {
    match listen_address(text) {
        Some(address) if address.port() > 0 => Ok(()),
        _ => Err(refused("a listener", text, "use a port from 1 to 65535, `127.0.0.1:8080` or `[::]:80`")),
    }
}

fn listen_address(text: &str) -> Option<SocketAddr> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = || text.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    if digits { port() } else { socket_address(text) }
}

/// An address that reaches a listener from its own machine.
pub(super) fn reachable(listen: &str) -> String {
    listen_address(listen).map_or_else(|| listen.to_owned(), |address| from_the_host(address).to_string())
}

/// An unspecified address, as servers bind it, is reached on the loopback.
fn from_the_host(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Without a scope id, which nginx does not know.
fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|_| !text.contains('%'))
}

/// An endpoint's address as nginx connects to it.
///
/// # Errors
/// `Config` when it is no `host:port`.
pub(crate) fn address_of(text: &str) -> Result<String> {
    address(text)?;
    Ok(socket_address(text).map_or_else(|| text.to_owned(), |address| from_the_host(address).to_string()))
}

/// `127.0.0.1:4000`, `[::1]:4000`, `app.internal:4000`.
fn address(text: &str) -> Result<()> {
    let rule = "use host:port, like `127.0.0.1:4000`, `[::1]:4000` or `app.internal:4000`";
    short("an address", text)?;
    // nginx knows no scope id.
    match host_port(text).filter(|_| !text.contains('%')) {
        Some((host, _)) if text.starts_with('[') || is_host_name(host) => Ok(()),
        _ => Err(refused("an address", text, rule)),
    }
}

fn tls_only(config: &NginxConfig) -> Result<()> {
    let refused = |what: &str, advice: &'static str| {
        Err(Error::config(format!("the site is TLS only, {what}")).with_hint(advice))
    };
    match (&config.tls, &config.probe) {
        _ if !config.listen.is_empty() => refused("and has a plain listener", "leave out one of the two"),
        (None, _) => refused("and has no certificate", "give it one by `tls`"),
        (_, Some(Probe::Url(_))) => Ok(()),
        _ => refused(
            "so nginx cannot be asked by plain HTTP who is live",
            "say with `probe_url` where it is asked, like `https://shop.example.com`",
        ),
    }
}

fn server_name(text: &str) -> Result<()> {
    let bare = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    if is_host_name(bare) {
        return Ok(());
    }
    Err(refused(
        "a server name",
        text,
        "use `shop.example.com`, `*.example.com` or `.example.com`; international names in their `xn--` form",
    ))
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// An absolute path without anything that nginx, a shell or a glob reads as more than a character.
fn path(text: &str) -> Result<()> {
    short("a path", text)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@=:,".contains(c);
    let steps = || text.split('/').skip(1).all(|step| !matches!(step, "." | ".."));
    if text.starts_with('/') && !text.contains("//") && text.chars().all(plain) && steps() {
        return Ok(());
    }
    Err(refused("a path", text, "use an absolute path of A-Z a-z 0-9 / . _ - + @ = : , without `..`"))
}

fn state_directory(text: &str) -> Result<()> {
    path(text)?;
    if text.ends_with('/') {
        return Err(refused("the state directory", text, "leave out the last `/`"));
    }
    let within = |place: &str| text.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match VOLATILE.iter().find(|place| within(place)) {
        Some(place) => Err(refused("the state directory", text, &format!("{place} is empty after a reboot"))
            .with_hint("use a place like /var/lib/bluegreen/<service>")),
        None => Ok(()),
    }
}

/// A URI path that nginx compares as it stands.
fn uri_path(text: &str) -> Result<()> {
    short("a location", text)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._~-+@:".contains(c);
    if text.starts_with('/') && !text.contains("//") && text.chars().all(plain) {
        return Ok(());
    }
    Err(refused("a location", text, "use a path of A-Z a-z 0-9 / . _ ~ - + @ :"))
}

fn locations(config: &NginxConfig) -> Result<()> {
    uri_path(&config.id_path)?;
    let mut taken = vec!["/", config.id_path.as_str()];
    for location in &config.locations {
        uri_path(&location.path)?;
        if taken.contains(&location.path.as_str()) {
            return Err(Error::config(format!("the location {} is there twice", location.path)));
        }
        taken.push(&location.path);
        match &location.content {
            Content::Files(directory) | Content::Assets(directory) => {
                path(directory)?;
                // Without both, `/assets../secret` would reach beside the directory.
                if !location.path.ends_with('/') || !directory.ends_with('/') {
                    let rule = "the path and the directory of a files location both end with `/`";
                    return Err(refused("a location", &location.path, rule));
                }
            }
            Content::Proxy(text) => address(text)?,
            Content::Respond(status, text) => {
                if !(200..=599).contains(status) {
                    return Err(Error::config(format!("{status} is not a status to answer with: use 200 to 599")));
                }
                literal(text)?;
            }
        }
    }
    Ok(())
}

/// The token of RFC 9110, section 5.6.2, without the signs that nobody uses in a name.
fn header_name(text: &str) -> Result<()> {
    short("a header name", text)?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Ok(());
    }
    Err(refused("a header name", text, "use A-Z a-z 0-9 - _"))
}

/// Text that nginx passes on as it is. A `$` cannot be written in a configuration at all.
fn literal(text: &str) -> Result<()> {
    if !text.is_empty() {
        short("a value", text)?;
    }
    let visible = |c: char| c == ' ' || c.is_ascii_graphic();
    match text.chars().find(|c| !visible(*c) || *c == '$') {
        None => Ok(()),
        Some('$') => {
            Err(refused("a value", text, "nginx reads `$` as the beginning of a variable, and cannot quote it")
                .with_hint("write it into a file of yours and include that"))
        }
        Some(_) => Err(refused("a value", text, "use visible ASCII characters and blanks")),
    }
}

fn cookie(text: &str) -> Result<()> {
    short("a cookie name", text)?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(refused("a cookie name", text, "use A-Z a-z 0-9 _"))
}

pub(crate) fn url(text: &str) -> Result<bluegreen_http_client::Url> {
    let parsed = bluegreen_http_client::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    parsed.ok_or_else(|| refused("a URL", text, "use one like `https://shop.example.com`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(check: impl Fn(&str) -> Result<()>, texts: &[&str]) {
        for text in texts {
            let error = check(text).err().unwrap_or_else(|| panic!("{text:?} was accepted"));
            assert_eq!(error.kind(), bluegreen_core::ErrorKind::Config);
        }
    }

    fn accepts(check: impl Fn(&str) -> Result<()>, texts: &[&str]) {
        for text in texts {
            check(text).unwrap();
        }
    }

    #[test]
    fn listeners_are_a_port_or_an_address_with_one() {
        accepts(listen, &["80", "1", "65535", "127.0.0.1:8080", "[::]:80", "[2001:db8::1]:443"]);
        refuses(
            listen,
            &["", "0", "65536", "-1", "+80", " 80", "80 ", "80;", "80 ssl", "*:80", "unix:/x", "[::1%eth0]:80"],
        );
        refuses(listen, &["localhost:80", "1.2.3.4", "1.2.3.4:0", "80\n", "８０"]);
    }

    #[test]
    fn server_names_are_host_names() {
        accepts(
            server_name,
            &["shop.example.com", "*.example.com", ".example.com", "_", "localhost", "xn--bcher-kva.example"],
        );
        refuses(
            server_name,
            &["", "~^x$", "a b", "a;b", "a{", "*", "*.", "a..b", "-a", "a-", "$host", "a\"b", "bücher.example"],
        );
        refuses(server_name, &["shop.*", "a/b", "a:80", "a\n", &"a".repeat(64), &"a.".repeat(127)]);
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        accepts(path, &["/etc/ssl/shop.pem", "/srv/a+b/c_d-e@1.2", "/x/"]);
        refuses(
            path,
            &[
                "", "x", "./x", "/x/../y", "/x/./y", "/..", "//x", "/x y", "/x;y", "/x*", "/x?", "/$x", "/x\"", "/x'",
                "/x\n", "/x{y}", "/x#y", "/x\\y", "/é", "~/x",
            ],
        );
    }

    #[test]
    fn a_state_directory_survives_a_reboot() {
        accepts(state_directory, &["/var/lib/bluegreen/shop", "/running/shop", "/srv/run/shop", "/var/runs"]);
        refuses(state_directory, &["/run/shop", "/var/run/shop", "/dev/shm/shop", "/var/lib/shop/", "/"]);
        refuses(state_directory, &["/run", "/var/run", "/dev/shm", "/run/"]);
    }

    #[test]
    fn a_site_without_plain_http_has_a_certificate_and_a_url_to_be_asked_at() {
        let bare = || NginxConfig::new("shop").server_name("shop.example.com").tls_only(true);
        let site = || bare().tls("/etc/ssl/shop.pem", "/etc/ssl/shop.key");
        let url = "https://shop.example.com";
        check(&site().probe_url(url)).unwrap();
        for config in [site(), site().probe("127.0.0.1:80"), site().probe_url(url).listen("80"), bare().probe_url(url)]
        {
            assert_eq!(check(&config).unwrap_err().kind(), bluegreen_core::ErrorKind::Config);
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        accepts(address, &["127.0.0.1:4000", "[::1]:4000", "app.internal:80", "localhost:1"]);
        refuses(
            address,
            &[
                "",
                "4000",
                ":4000",
                "a:",
                "a:0",
                "a:+1",
                "a:65536",
                "a b:1",
                "a;b:1",
                "::1:80",
                "[::1]",
                "$x:80",
                "a:1;",
                "unix:/x:",
                "127.0.0.1:0",
            ],
        );
        assert_eq!(address_of("0.0.0.0:80").unwrap(), "127.0.0.1:80");
        assert_eq!(address_of("[::]:80").unwrap(), "[::1]:80");
        assert_eq!(reachable("8080"), "127.0.0.1:8080");
    }

    #[test]
    fn header_values_are_visible_ascii_without_variables() {
        accepts(literal, &["", "max-age=31536000; includeSubDomains", "\"quoted\" \\ 'x' {} ; # %"]);
        refuses(literal, &["$host", "a\nb", "a\rb", "a\tb", "a\0b", "\u{7f}", "é", &"x".repeat(1001)]);
        accepts(header_name, &["X-Frame-Options", "X_Y1"]);
        refuses(header_name, &["", "a b", "a:", "a;", "\"a\"", "a\n", "$a", "é"]);
    }

    #[test]
    fn a_header_of_the_site_itself_is_not_sent_twice() {
        let site = || NginxConfig::new("shop").server_name("shop.example.com");
        assert!(check(&site().request_header("x-forwarded-FOR", "1.2.3.4")).is_err());
        assert!(check(&site().request_header("X-Other", "1.2.3.4")).is_ok());
    }

    #[test]
    fn every_header_of_the_template_is_known_to_be_written() {
        let template = include_str!("../site/templates/proxy_headers.j2");
        let written: Vec<_> =
            template.lines().filter_map(|line| line.trim().strip_prefix("proxy_set_header ")).collect();
        let fixed: Vec<_> = written.iter().filter(|line| !line.starts_with('{')).collect();
        assert_eq!(fixed.len(), WRITTEN.len());
        assert!(fixed.iter().all(|line| WRITTEN.iter().any(|name| line.starts_with(&format!("{name} ")))));
    }

    #[test]
    fn locations_are_plain_paths_and_there_once() {
        accepts(uri_path, &["/a", "/a/b.c_d~e-f+g@h:i/"]);
        refuses(uri_path, &["", "a", "= /", "~ x", "/a b", "/a{", "/a;", "/a$b", "/a\"", "//", "/é", "/a%20", "/a\n"]);
    }

    #[test]
    fn cookie_names_fit_into_a_variable_name() {
        accepts(cookie, &["shop_bucket"]);
        refuses(cookie, &["", "a-b", "a;b", "a b", "a=b", "$a"]);
    }
}
