//! How a [`BeamRuntime`] is made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Host, Ownership, PerSlot, Result, Secret};

use super::settings::Settings;
use super::{BeamRuntime, environment};

/// Default ports of blue and green: 4000 and 4001. The first is Phoenix's own.
pub const DEFAULT_PORTS: PerSlot<u16> = PerSlot::new(4000, 4001);

/// Default port of the port mapper: 4369, Erlang's own.
pub const DEFAULT_EPMD_PORT: u16 = 4369;

/// Default for how many releases stay on the server: 5. They are the two in the slots, and three to look back at.
pub const DEFAULT_KEEP_RELEASES: usize = 5;

/// Default for how long a node may take to boot: 60 s. Applications that warm caches or migrate when they start take longer.
pub const DEFAULT_BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// Settings of a [`BeamRuntime`]; begun by [`BeamRuntime::builder`].
#[derive(Debug, Clone)]
pub struct BeamRuntimeBuilder {
    host: Arc<dyn Host>,
    settings: Settings,
}

impl BeamRuntimeBuilder {
    pub(super) fn new(host: Arc<dyn Host>, app: String) -> Self {
        let settings = Settings {
            directory: app.clone(),
            ports: DEFAULT_PORTS,
            names: PerSlot::from_fn(|slot| format!("{app}-{slot}")),
            node_host: "localhost".to_owned(),
            epmd_port: DEFAULT_EPMD_PORT,
            variables: BTreeMap::new(),
            env_files: Vec::new(),
            cookie: None,
            keep_releases: DEFAULT_KEEP_RELEASES,
            logs: PerSlot::default(),
            boot_deadline: DEFAULT_BOOT_DEADLINE,
            overwrite_changes: false,
            app,
        };
        Self { host, settings }
    }

    /// Sets the directory on the server that belongs to this service: absolute, or relative to where a login begins. It
    /// is made when it is missing. Default: the name of the app.
    #[must_use]
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.settings.directory = path.into();
        self
    }

    /// The ports that blue's and green's services are told to listen on, in `PORT`. Default: 4000 and 4001
    /// ([`DEFAULT_PORTS`]).
    #[must_use]
    pub fn ports(mut self, ports: impl Into<PerSlot<u16>>) -> Self {
        self.settings.ports = ports.into();
        self
    }

    /// Adds a variable to the service's environment, also for migrations.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.settings.variables.insert(name.into(), value);
        self
    }

    /// Adds several variables to the service's environment.
    #[must_use]
    pub fn envs<N: Into<String>>(mut self, variables: impl IntoIterator<Item = (N, Secret)>) -> Self {
        self.settings.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value)));
        self
    }

    /// Adds the variables of a local file to the service's environment: lines `NAME=value`, as `.env` files have them. A
    /// value with blanks, quotes or a `$` stands in single quotes. What is set one by one comes before what a file says,
    /// and the first of several files before the others.
    ///
    /// It is read by each [`prepare`](bluegreen_core::Runtime::prepare), and by nothing else: who rolls back, recovers or
    /// looks does not need it.
    #[must_use]
    pub fn env_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.env_files.push(path.into());
        self
    }

    /// Sets the cookie by which nodes know each other. Default: one that is made at the first deploy and stays on the
    /// server.
    ///
    /// A node keeps the cookie it was started with; it is still found and stopped after a change.
    #[must_use]
    pub fn cookie(mut self, cookie: Secret) -> Self {
        self.settings.cookie = Some(cookie);
        self
    }

    /// The names of blue's and green's nodes, without their host. Default: `<app>-<slot>`. The names of all nodes on a server
    /// must differ.
    #[must_use]
    pub fn node_names<N: Into<String>>(mut self, names: impl Into<PerSlot<N>>) -> Self {
        self.settings.names = names.into().map(Into::into);
        self
    }

    /// Sets the host part of the nodes' names: the name or address at which nodes on other machines reach this one.
    /// With a dot in it, names are long ones.
    ///
    /// Default: `localhost`; nothing listens beyond the loopback interface: neither the nodes nor, if they
    /// are the first on the machine, the port mapper. With any other host both listen everywhere, for clusters: the
    /// cookie and a firewall are all that protects them.
    #[must_use]
    pub fn node_host(mut self, host: impl Into<String>) -> Self {
        self.settings.node_host = host.into();
        self
    }

    /// Sets the port of the port mapper (`epmd`) by which nodes find each other. Default: 4369
    /// ([`DEFAULT_EPMD_PORT`]).
    #[must_use]
    pub fn epmd_port(mut self, port: u16) -> Self {
        self.settings.epmd_port = port;
        self
    }

    /// How many releases stay on the server. Default: 5 ([`DEFAULT_KEEP_RELEASES`]). The one that was just
    /// prepared, those on record for a slot, and those of which something runs, stay in any case.
    #[must_use]
    pub fn keep_releases(mut self, count: usize) -> Self {
        self.settings.keep_releases = count;
        self
    }

    /// The files on the server to which blue's and green's services write their logs, where they keep one of their own.
    /// Default: what the service prints.
    #[must_use]
    pub fn log_files<P: Into<String>>(mut self, paths: impl Into<PerSlot<P>>) -> Self {
        self.settings.logs = paths.into().map(|path| Some(path.into()));
        self
    }

    /// How long a node may take to boot, with all of its applications. Default: 60 s ([`DEFAULT_BOOT_DEADLINE`]).
    #[must_use]
    pub fn boot_deadline(mut self, deadline: Duration) -> Self {
        self.settings.boot_deadline = deadline;
        self
    }

    /// Overwrites what others have put into the environment file or the cookie on the server. Otherwise a
    /// [`prepare`](bluegreen_core::Runtime::prepare) that has to write such a file is refused with
    /// [`Reason::ChangedElsewhere`](bluegreen_core::Reason), and `plan` and `status` say so.
    #[must_use]
    pub fn overwrite_changes(mut self, overwrite: bool) -> Self {
        self.settings.overwrite_changes = overwrite;
        self
    }

    /// The runtime. Nothing is done on the server yet.
    ///
    /// # Errors
    /// `Config` when a name, the cookie or a variable cannot be what it has to be, or the slots share a port or a name.
    pub fn build(self) -> Result<BeamRuntime> {
        let Self { host, mut settings } = self;
        check(&settings)?;
        for file in &mut settings.env_files {
            // A deploy tool may change its directory before it deploys.
            *file = std::path::absolute(&*file)
                .map_err(|error| Error::from(error).with_operation("find the environment file"))?;
        }
        Ok(BeamRuntime { host, settings: Arc::new(settings), ownership: Ownership::new() })
    }
}

fn check(settings: &Settings) -> Result<()> {
    let refuse = |what: String| Err(Error::config(what).with_operation("set up the BEAM runtime"));
    if !is_app(&settings.app) {
        return refuse(format!("{:?} is not the name of an Elixir release: use a-z, 0-9 and _", settings.app));
    }
    if settings.directory.is_empty() || settings.directory.contains(['\0', '\n']) || settings.directory == "/" {
        return refuse(format!("{:?} is not a directory that can belong to one service", settings.directory));
    }
    let PerSlot { blue, green } = settings.ports;
    if blue == green || blue == 0 || green == 0 {
        return refuse(format!("the slots need two ports, and have {blue} and {green}"));
    }
    if settings.names.blue == settings.names.green {
        return refuse(format!("the slots need two node names, and have {:?} twice", settings.names.blue));
    }
    if let Some(name) = settings.names.iter().find(|name| !is_node_part(name, "_-")) {
        return refuse(format!("{name:?} is not the name of a node: use A-Z, a-z, 0-9, _ and -"));
    }
    if !is_node_part(&settings.node_host, "_-.:") {
        return refuse(format!("{:?} is not the host of a node", settings.node_host));
    }
    if settings.logs.iter().flatten().any(|path| path.is_empty() || path.contains(['\0', '\n'])) {
        return refuse("a log file needs a path".to_owned());
    }
    if settings.env_files.iter().any(|path| path.as_os_str().is_empty()) {
        return refuse("an environment file needs a path".to_owned());
    }
    if let Some(cookie) = &settings.cookie {
        environment::check_cookie(cookie)?;
    }
    environment::check(&settings.variables)
}

fn is_app(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_node_part(name: &str, also: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

#[cfg(test)]
mod tests {
    use bluegreen_core::{ErrorKind, LocalHost, Slot};

    use super::*;

    #[test]
    fn what_could_not_run_or_could_be_misread_is_refused_before_anything_is_done() {
        let good = || BeamRuntime::builder(LocalHost::new(), "shop");
        assert!(good().build().is_ok());
        for app in ["", "Shop", "shop-web", "1shop", "shop;id", "../shop"] {
            assert!(BeamRuntime::builder(LocalHost::new(), app).build().is_err(), "{app:?}");
        }
        let bad = [
            good().directory("/"),
            good().directory(""),
            good().ports((4000, 4000)),
            good().ports((4000, 0)),
            good().node_names(("shop-green", "shop-green")),
            good().node_names(("a b", "shop-green")),
            good().node_names(("-x", "shop-green")),
            good().node_names(("a@b", "shop-green")),
            good().node_host("a'b"),
            good().node_host("$(id)"),
            good().log_files(("", "/log")),
            good().env_file(""),
            good().env("1A", Secret::new("x")),
            good().env("A", Secret::new("a\0b")),
            good().env("PORT", Secret::new("1")),
            good().env("RELEASE_COOKIE", Secret::new("x")),
            good().cookie(Secret::new("")),
            good().cookie(Secret::new("a\nb")),
            good().cookie(Secret::new("x ")),
        ];
        for builder in bad {
            let shown = format!("{builder:?}");
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{shown}");
        }
    }

    #[test]
    fn a_short_host_makes_short_names_and_only_loopback_hosts_stay_on_loopback() {
        let of = |host: &str| BeamRuntime::builder(LocalHost::new(), "shop").node_host(host).build().unwrap().settings;
        for (host, distribution, loopback) in [
            ("localhost", "sname", true),
            ("127.0.0.1", "name", true),
            ("web1", "sname", false),
            ("web1.example.com", "name", false),
            ("10.0.0.5", "name", false),
        ] {
            let settings = of(host);
            assert_eq!((settings.distribution(), settings.is_loopback()), (distribution, loopback), "{host}");
            assert_eq!(settings.node(Slot::Green), format!("shop-green@{host}"));
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let builder = BeamRuntime::builder(LocalHost::new(), "shop");
        let builder = builder.env("DATABASE_URL", Secret::new("hunter2")).cookie(Secret::new("hunter2"));
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("hunter2"));
    }
}
