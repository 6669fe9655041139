use bluegreen_core::{PerSlot, Slot};
use serde::Deserialize;

/// Where the files of a site are on the host.
///
/// ```
/// use bluegreen_nginx::{Layout, NginxConfig};
///
/// // An account that may write in /srv/shop, and nowhere else.
/// let layout = Layout::debian().state_directory("/srv/shop/flags").site_file("/srv/shop/nginx/shop.conf");
/// let config = NginxConfig::new("shop").server_name("shop.example.com").layout(layout);
/// # assert!(config.render()?.contains("/srv/shop/flags"));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Layout {
    directory: Option<String>,
    state_directory: Option<String>,
    site_file: Option<String>,
    slot_files: Option<PerSlot<String>>,
    link: Option<String>,
    pub(crate) pid_file: String,
    pub(crate) error_log: Option<String>,
}

/// [`Layout::debian`].
impl Default for Layout {
    fn default() -> Self {
        Self::debian()
    }
}

impl Layout {
    /// The usual places of nginx on Debian, as each method names them.
    pub fn debian() -> Self {
        Self {
            directory: None,
            state_directory: None,
            site_file: None,
            slot_files: None,
            link: None,
            pid_file: "/run/nginx.pid".to_owned(),
            error_log: Some("/var/log/nginx/error.log".to_owned()),
        }
    }

    /// A directory of the service's own, in which an account that is not root may write: the flags are in `state` there, and the site
    /// is in `sites`. Default: none, and so the places that the other methods name.
    /// [`setup_script`](crate::NginxRouter::setup_script) makes it, and has nginx read the site there.
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Where the flags (or, for the symlink router, only the lock) live. Default: `/var/lib/bluegreen/<service>`.
    ///
    /// It must survive a reboot: `/run`, `/var/run` and `/dev/shm`, and what is below them, are refused. `/tmp` is not,
    /// although many systems empty it at boot: use it for trials only. nginx's workers must be able to enter the directory;
    /// what is created here is open to all.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.state_directory = Some(path.into());
        self
    }

    /// The file of [`NginxRouter`](crate::NginxRouter)'s site. Default: `/etc/nginx/conf.d/<service>.conf`. nginx's
    /// configuration must include it.
    pub fn site_file(mut self, path: impl Into<String>) -> Self {
        self.site_file = Some(path.into());
        self
    }

    /// The files of the slots' sites for [`NginxSymlinkRouter`](crate::NginxSymlinkRouter), blue's and green's. Default:
    /// `/etc/nginx/sites-available/<service>-<slot>`.
    pub fn slot_files<P: Into<String>>(mut self, paths: impl Into<PerSlot<P>>) -> Self {
        self.slot_files = Some(paths.into().map(Into::into));
        self
    }

    /// The link that [`NginxSymlinkRouter`](crate::NginxSymlinkRouter) switches. Default:
    /// `/etc/nginx/sites-enabled/<service>`.
    pub fn link(mut self, path: impl Into<String>) -> Self {
        self.link = Some(path.into());
        self
    }

    /// nginx's pid file. Default: `/run/nginx.pid`. Its master's workers tell when a reload is over.
    pub fn pid_file(mut self, path: impl Into<String>) -> Self {
        self.pid_file = path.into();
        self
    }

    /// nginx's error log. Default: `/var/log/nginx/error.log`. What a reload writes there decides whether it worked.
    pub fn error_log(mut self, path: impl Into<String>) -> Self {
        self.error_log = Some(path.into());
        self
    }

    /// For an nginx whose error log is no file on the host: what a reload complains about is not seen, and shows as a
    /// timeout.
    pub fn no_error_log(mut self) -> Self {
        self.error_log = None;
        self
    }

    pub(crate) fn state_directory_of(&self, service: &str) -> String {
        let usual = || match &self.directory {
            Some(own) => format!("{own}/state"),
            None => format!("/var/lib/bluegreen/{service}"),
        };
        self.state_directory.clone().unwrap_or_else(usual)
    }

    pub(crate) fn site_file_of(&self, service: &str) -> String {
        let directory = match &self.directory {
            Some(own) => format!("{own}/sites"),
            None => "/etc/nginx/conf.d".to_owned(),
        };
        self.site_file.clone().unwrap_or_else(|| format!("{directory}/{service}.conf"))
    }

    pub(crate) fn slot_file_of(&self, service: &str, slot: Slot) -> String {
        let usual = || format!("/etc/nginx/sites-available/{service}-{slot}");
        self.slot_files.as_ref().map_or_else(usual, |files| files[slot].clone())
    }

    pub(crate) fn link_of(&self, service: &str) -> String {
        self.link.clone().unwrap_or_else(|| format!("/etc/nginx/sites-enabled/{service}"))
    }
}
