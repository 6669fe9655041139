//! [`NginxVersion`]: which nginx a server runs.

/// The version of the server, for the directives that not all of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NginxVersion(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl NginxVersion {
    /// Reads what `nginx -v` prints: `nginx version: nginx/1.22.1 (Ubuntu)`. Of a derivative with numbers of its own
    /// nothing is known.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("nginx version: nginx/")?;
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let mut numbers = rest[..end].split('.').map(|number| number.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next()??))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_nginx_prints() {
        assert_eq!(NginxVersion::parse("nginx version: nginx/1.22.1\n"), Some(NginxVersion(1, 22, 1)));
        assert_eq!(NginxVersion::parse("nginx version: nginx/1.27.4 (Ubuntu)"), Some(NginxVersion(1, 27, 4)));
        assert_eq!(NginxVersion::parse("nginx version: openresty/1.27.1.2"), None);
        assert_eq!(NginxVersion::parse("sh: nginx: not found"), None);
        assert!(NginxVersion(1, 29, 0) > NginxVersion(1, 27, 4));
    }
}
