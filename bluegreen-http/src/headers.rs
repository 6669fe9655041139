use bluegreen_core::{Error, Result, Secret};
use bluegreen_http_client::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers as they were given, not yet validated.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderSettings(Vec<(String, Given)>);

#[derive(Debug, Clone)]
enum Given {
    Plain(String),
    Secret(Secret),
    Bearer(Secret),
}

/// Headers ready to be sent, and the secrets in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    pub(crate) map: HeaderMap,
    pub(crate) secrets: Vec<Secret>,
}

impl HeaderSettings {
    pub(crate) fn plain(&mut self, name: String, value: String) {
        self.0.push((name, Given::Plain(value)));
    }

    pub(crate) fn secret(&mut self, name: String, value: Secret) {
        self.0.push((name, Given::Secret(value)));
    }

    pub(crate) fn bearer(&mut self, token: Secret) {
        self.0.push(("authorization".to_owned(), Given::Bearer(token)));
    }

    pub(crate) fn build(&self) -> Result<Headers> {
        let mut headers = Headers::default();
        for (name, given) in &self.0 {
            let value = match given {
                Given::Plain(value) => header_value(name, value)?,
                Given::Secret(secret) => secret_value(name, secret.reveal())?,
                Given::Bearer(token) => secret_value(name, &format!("Bearer {}", token.reveal()))?,
            };
            if let Given::Secret(secret) | Given::Bearer(secret) = given {
                headers.secrets.push(secret.clone());
            }
            headers.map.append(header_name(name)?, value);
        }
        Ok(headers)
    }
}

/// A header's name. `Host` is refused: it has a setting of its own, because a request carries exactly one.
pub(crate) fn header_name(name: &str) -> Result<HeaderName> {
    let valid = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::config(format!("{name:?} is not the name of a header")))?;
    if valid == bluegreen_http_client::header::HOST {
        return Err(Error::config("the Host header cannot be given as a header").with_hint("use host_header"));
    }
    Ok(valid)
}

/// A header's value, which must not be able to begin another header.
pub(crate) fn header_value(name: &str, value: &str) -> Result<HeaderValue> {
    let refused = "a header cannot carry a value with control characters";
    HeaderValue::from_str(value).map_err(|_| Error::config(refused).with("header", name))
}

fn secret_value(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = header_value(name, value)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A `Host` header: a name or an address, with or without a port, and nothing else.
pub(crate) fn host_header(host: &str) -> Result<HeaderValue> {
    match address_url("http", host) {
        Some(_) => header_value("host", host),
        None => Err(Error::config(format!("{host:?} is not a host name or address, with or without a port"))
            .with("header", "host")),
    }
}

/// The URL of `host:port`, if the text is that and nothing else.
pub(crate) fn address_url(scheme: &str, address: &str) -> Option<bluegreen_http_client::Url> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
    if address.is_empty() || !address.chars().all(harmless) {
        return None;
    }
    let url = bluegreen_http_client::Url::parse(&format!("{scheme}://{address}/")).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bluegreen_core::ErrorKind;

    #[test]
    fn a_value_that_would_begin_another_header_is_refused_and_not_repeated() {
        let mut settings = HeaderSettings::default();
        settings.secret("x-key".to_owned(), Secret::new("hidden\r\nX-Evil: 1"));
        let error = settings.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.chain().contains("hidden"), "{error}");
        assert_eq!(error.context("header"), Some("x-key"));
    }

    #[test]
    fn a_host_header_is_a_host_and_nothing_else() {
        for good in ["shop.example.com", "shop:8080", "127.0.0.1:80", "[::1]:80", "my_host"] {
            assert!(host_header(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\r\nX: y", "user@host", "host/path", "host?x", "host#x", "a\\b", "http://host", ":80"]
        {
            assert_eq!(host_header(bad).unwrap_err().kind(), ErrorKind::Config, "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut settings = HeaderSettings::default();
        settings.bearer(Secret::new("hidden"));
        let headers = settings.build().unwrap();
        assert!(!format!("{settings:?} {headers:?}").contains("hidden"));
        assert_eq!(headers.map["authorization"], "Bearer hidden");
    }
}
