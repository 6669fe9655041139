use serde::Deserialize;

/// How nginx is run, tested and reloaded on the host.
///
/// ```
/// use bluegreen_nginx::Commands;
///
/// let own_prefix = Commands::new().nginx(["nginx", "-c", "/srv/nginx.conf"]);
/// let by_systemd = Commands::new().reload(["systemctl", "reload", "nginx"]).sudo(true);
/// # let _ = (own_prefix, by_systemd);
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Commands {
    nginx: Vec<String>,
    test: Option<Vec<String>>,
    reload: Option<Vec<String>>,
    pub(crate) sudo: bool,
}

/// [`Commands::new`].
impl Default for Commands {
    fn default() -> Self {
        Self::new()
    }
}

impl Commands {
    /// `nginx` by the name that is in `PATH`, as the account that one logs in with.
    pub fn new() -> Self {
        Self { nginx: vec!["nginx".to_owned()], test: None, reload: None, sudo: false }
    }

    /// The nginx command, with what it needs to find its configuration: `["nginx", "-c", "/srv/nginx.conf"]`,
    /// `["sudo", "-n", "nginx"]`. Default: `["nginx"]`.
    pub fn nginx<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.nginx = words.into_iter().map(Into::into).collect();
        self
    }

    /// How the configuration is tested. Default: the nginx command with `-t`.
    pub fn test<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.test = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// How nginx is reloaded: `["systemctl", "reload", "nginx"]`. Default: the nginx command with `-s reload`.
    pub fn reload<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.reload = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Runs all commands on the host as root, by `sudo -n`. Default: no.
    ///
    /// What runs is `sudo -n -- sh -c <script>`, because files, lock, test and reload belong in one step. So the account
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
    /// # use bluegreen_nginx::Commands;
    /// let commands = Commands::new().nginx(["sudo", "-n", "nginx"]);
    /// ```
    ///
    /// ```text
    /// deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -v, /usr/sbin/nginx -t, /usr/sbin/nginx -T, /usr/sbin/nginx -s reload
    /// ```
    ///
    /// `nginx -T` is for errors only: it tells which other site has the same server name. Only root may see which connections
    /// are nginx's, so `in_flight` then counts all of the host's connections to the slot's addresses. Where the account may
    /// not read the [`error_log`](crate::Layout::error_log), a reload that fails after the test shows as a timeout. The rule
    /// does not contain a hostile account: nginx opens as root what its configuration names.
    pub fn sudo(mut self, yes: bool) -> Self {
        self.sudo = yes;
        self
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

    /// Whether nginx alone is run as root.
    pub(crate) fn is_nginx_by_sudo(&self) -> bool {
        self.nginx.first().is_some_and(|program| program == "sudo")
    }

    pub(crate) fn version_words(&self) -> Vec<String> {
        self.nginx_with(&["-v"])
    }

    /// Whether one of the commands names no program.
    pub(crate) fn has_an_empty_one(&self) -> bool {
        let commands = [self.nginx.clone(), self.test_words(), self.reload_words()];
        commands.iter().any(|words| words.first().is_none_or(String::is_empty))
    }

    fn nginx_with(&self, args: &[&str]) -> Vec<String> {
        self.nginx.iter().cloned().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
    }
}
