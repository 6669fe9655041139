use serde::Deserialize;

/// A location beside the app's.
///
/// ```
/// use bluegreen_nginx::Location;
///
/// let assets = Location::files("/assets/", "/srv/shop/assets/");
/// let hashed = Location::assets("/static/", "/srv/shop/assets/");
/// let admin = Location::proxy("/admin/", "127.0.0.1:9000");
/// let ping = Location::respond("/ping", 200, "pong");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Location {
    pub(crate) path: String,
    #[serde(flatten)]
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    Files(String),
    Assets(String),
    Proxy(String),
    Respond(u16, String),
}

impl Location {
    /// Everything below `path` comes from a directory on the host. Both end with `/`.
    pub fn files(path: impl Into<String>, directory: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Files(directory.into()) }
    }

    /// Everything below `path` comes from a directory on the host, and what is not there, from the app. Both end with `/`.
    ///
    /// For the directory in which releases of bluegreen-release put the hashed files of all of them (`assets` of its
    /// builders): a page of the old version finds its files after a switch, and a page of the new one before it. Browsers may
    /// keep what comes from the directory for a year.
    pub fn assets(path: impl Into<String>, directory: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Assets(directory.into()) }
    }

    /// Everything below `path` goes to this `host:port`, whichever slot is live.
    pub fn proxy(path: impl Into<String>, address: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Proxy(address.into()) }
    }

    /// Exactly `path` is answered with this status (200 to 599) and text.
    pub fn respond(path: impl Into<String>, status: u16, text: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Respond(status, text.into()) }
    }
}
