use std::net::SocketAddr;

/// The host and the port of `host:port`, the form of an [`Endpoint`](crate::Endpoint)'s address. `None` when the text is
/// anything else.
///
/// A host is a name (letters, digits, `.`, `-` and `_`), an IPv4 address, or an IPv6 address in brackets, which are not part of
/// what is returned. A port is a number from 1 to 65535. So neither can be mistaken for an option, a path or a header by
/// whatever it is written into.
///
/// ```
/// use bluegreen_core::host_port;
///
/// assert_eq!(host_port("app.internal:4000"), Some(("app.internal", 4000)));
/// assert_eq!(host_port("[::1]:4000"), Some(("::1", 4000)));
/// assert_eq!(host_port("app.internal"), None);
/// ```
pub fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, digits) = text.rsplit_once(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| is_number && *port > 0)?;
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => text.parse::<SocketAddr>().is_ok().then_some((inner, port)),
        None => is_name(host).then_some((host, port)),
    }
}

/// The longest name is that of DNS.
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_with_a_port_is_an_address() {
        let long = format!("{}:80", "a".repeat(253));
        for (good, parts) in [
            ("127.0.0.1:80", ("127.0.0.1", 80)),
            ("localhost:4001", ("localhost", 4001)),
            ("[::1]:4001", ("::1", 4001)),
            ("[fe80::1%2]:4001", ("fe80::1%2", 4001)),
            ("app_1.internal:65535", ("app_1.internal", 65535)),
            (&long, (&long[..253], 80)),
        ] {
            assert_eq!(host_port(good), Some(parts), "{good:?}");
        }
        for bad in [
            "",
            ":80",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "host:http",
            "::1:80",
            "[::1:80",
            "::1]:80",
            "[]:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "[::1]",
            "a b:80",
            "a/b:80",
            "a\n:80",
            "user@host:80",
            "-o:80",
            "http://host:80",
            "hôte:80",
            &format!("a{long}"),
        ] {
            assert_eq!(host_port(bad), None, "{bad:?}");
        }
    }
}
