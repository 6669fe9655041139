use bluegreen_core::{Error, Result};
use bluegreen_http_client::{Url, is_this_machine};

/// The address of an API, to which a token may be sent: HTTPS, or this machine.
pub(super) fn checked(text: &str) -> Result<Url> {
    // With an @ it may hold a password.
    let shown = if text.contains('@') { "the API's address".to_owned() } else { format!("{text:?}") };
    let refused = |why: String| Error::config(format!("{shown} cannot be used: {why}"));
    let url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it carries a user name or a password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it has a query or a fragment".to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) => Ok(url),
        _ => Err(refused("a token is sent over https only, or to this machine".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_https_or_to_this_machine_only() {
        for good in ["https://api.example.com", "http://127.0.0.1:80", "http://[::1]:8080", "http://localhost:1/prefix"]
        {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "api.example.com",
            "https://anna:hidden@api.example.com",
            "https://api.example.com?x=1",
            "https://api.example.com#x",
        ] {
            let error = checked(bad).unwrap_err();
            assert!(!error.chain().contains("hidden"), "{error}");
        }
    }
}
