//! How a [`SystemdRuntime`] is made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Host, Ownership, PerSlot, Result, Secret, ServiceName};

use super::SystemdRuntime;
use super::hardening::Hardening;
use super::settings::{Scope, Settings, check_variables};
use super::unit;
use crate::directory::ReleaseDirectory;

/// The ports of blue and green unless set: 4000 and 4001.
pub const DEFAULT_PORTS: PerSlot<u16> = PerSlot::new(4000, 4001);

/// How long a program may take to be started unless set: 60 s. With `Type=notify` that is until it says that it is ready.
pub const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a program is given to end, by its unit, unless set: 30 s.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a program may end and be restarted while its health is waited for, unless set: twice.
pub const DEFAULT_RESTARTS_ALLOWED: u32 = 2;

/// Settings of a [`SystemdRuntime`]; begun by [`SystemdRuntime::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SystemdRuntimeBuilder {
    host: Arc<dyn Host>,
    settings: Settings,
    shared: Vec<(String, bool)>,
    assets: Option<String>,
    keep_releases: usize,
    strip_components: usize,
    max_size: u64,
}

impl SystemdRuntimeBuilder {
    pub(super) fn new(host: Arc<dyn Host>, service: String) -> Self {
        let settings = Settings {
            directory: format!("/srv/{service}"),
            command: vec![format!("bin/{service}")],
            scope: Scope::System { user: String::new() },
            ports: DEFAULT_PORTS,
            variables: BTreeMap::new(),
            env_files: Vec::new(),
            units: None,
            notify: false,
            stop_timeout: DEFAULT_STOP_TIMEOUT,
            start_deadline: DEFAULT_START_DEADLINE,
            restarts_allowed: DEFAULT_RESTARTS_ALLOWED,
            hardening: Hardening::default(),
            directives: Vec::new(),
            service,
        };
        Self {
            host,
            settings,
            shared: Vec::new(),
            assets: None,
            keep_releases: crate::DEFAULT_KEEP_RELEASES,
            strip_components: 0,
            max_size: crate::DEFAULT_MAX_SIZE,
        }
    }

    /// Sets the directory on the server that belongs to this service, as an absolute path; `/srv/<service>` unless set.
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.settings.directory = path.into();
        self
    }

    /// Sets the program and its arguments; `bin/<service>` unless set. A program with a slash is a path in the release, one
    /// that begins with a slash is on the server, and any other is looked up by systemd (`python3`, `node`).
    ///
    /// `{port}` and `{slot}` are filled in. No shell sees the words, and nothing else in them is replaced; `PORT`, `SLOT`
    /// and `VERSION` are in the environment too.
    pub fn command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.settings.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the user that the program runs as. It must be set, unless [`user_units`](Self::user_units) are used. Usually it is
    /// the one that deploys; another one cannot read the environment file, and has to be in the group of `shared/`.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.settings.scope = Scope::System { user: name.into() };
        self
    }

    /// Uses the systemd of the user who deploys (`systemctl --user`), for which nothing needs root but, once,
    /// `loginctl enable-linger`.
    pub fn user_units(mut self) -> Self {
        self.settings.scope = Scope::User;
        self
    }

    /// The ports that blue's and green's programs are told to listen on. Default: 4000 and 4001 ([`DEFAULT_PORTS`]).
    pub fn ports(mut self, ports: impl Into<PerSlot<u16>>) -> Self {
        self.settings.ports = ports.into();
        self
    }

    /// Adds a variable to the program's environment. Settings of a release are added too, and come before it.
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.settings.variables.insert(name.into(), value);
        self
    }

    /// Adds the variables of a local file, which is read by each [`prepare`](bluegreen_core::Runtime::prepare): see
    /// [`read_env_file`](crate::read_env_file). What is set one by one comes before what a file says, and the first of
    /// several files before the others.
    pub fn env_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.env_files.push(path.into());
        self
    }

    /// Uses units that somebody else wrote, one for each slot, instead of ours. They have to run the program in
    /// `<directory>/slots/<slot>/release`, with `EnvironmentFile=<directory>/slots/<slot>/env`.
    pub fn units(mut self, blue: impl Into<String>, green: impl Into<String>) -> Self {
        self.settings.units = Some(PerSlot::new(blue.into(), green.into()));
        self
    }

    /// Waits until the program says that it is ready (`Type=notify`, `sd_notify`), instead of until it runs.
    pub fn notify(mut self) -> Self {
        self.settings.notify = true;
        self
    }

    /// Sets how long a program may take to be started; [`DEFAULT_START_DEADLINE`] (60 s) unless set.
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.settings.start_deadline = deadline;
        self
    }

    /// Sets how long a program is given to end; [`DEFAULT_STOP_TIMEOUT`] (30 s) unless set. A pipeline's grace counts where
    /// it is longer than a deployer's wait, and the unit's where that is longer.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// Sets how often a program may end, and be restarted, while its health is waited for;
    /// [`DEFAULT_RESTARTS_ALLOWED`] (2) unless set.
    pub fn restarts_allowed(mut self, count: u32) -> Self {
        self.settings.restarts_allowed = count;
        self
    }

    /// Sets what the program is kept from; [`Hardening::Basic`] unless set.
    pub fn hardening(mut self, hardening: Hardening) -> Self {
        self.settings.hardening = hardening;
        self
    }

    /// Adds a line to the section `[Service]` of our units, after all others: `MemoryMax` and `512M`, `CPUQuota` and `50%`,
    /// `LimitNOFILE` and `65536`. The value is systemd's own syntax, `%` included.
    pub fn directive(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.directives.push((name.into(), value.into()));
        self
    }

    /// Shares a directory between all releases: uploads, caches, sessions.
    pub fn shared_directory(mut self, path: impl Into<String>) -> Self {
        self.shared.push((path.into(), true));
        self
    }

    /// Shares a file between all releases, such as a database of SQLite.
    pub fn shared_file(mut self, path: impl Into<String>) -> Self {
        self.shared.push((path.into(), false));
        self
    }

    /// Serves the files of all kept releases that have a hash in their names from `<directory>/assets`: see
    /// [`ReleaseDirectoryBuilder::assets`](crate::ReleaseDirectoryBuilder::assets).
    pub fn assets(mut self, path: impl Into<String>) -> Self {
        self.assets = Some(path.into());
        self
    }

    /// Sets how many releases stay on the server; [`DEFAULT_KEEP_RELEASES`](crate::DEFAULT_KEEP_RELEASES) (5) unless set.
    pub fn keep_releases(mut self, count: usize) -> Self {
        self.keep_releases = count;
        self
    }

    /// Sets how many leading directories of a tarball's members are left out; none unless set.
    pub fn strip_components(mut self, count: usize) -> Self {
        self.strip_components = count;
        self
    }

    /// Sets how many bytes a release may hold, unpacked; [`DEFAULT_MAX_SIZE`](crate::DEFAULT_MAX_SIZE) (8 GiB) unless set.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// The runtime. Nothing is done on the server yet.
    ///
    /// # Errors
    /// `Config` when a name, a path, a line or a variable cannot be what it has to be, when the slots share a port or a unit,
    /// or no user is set.
    pub fn build(mut self) -> Result<SystemdRuntime> {
        check(&self.settings).map_err(|error| error.with_operation("set up the systemd runtime"))?;
        for file in &mut self.settings.env_files {
            // A deploy tool may change its directory before it deploys.
            *file = std::path::absolute(&*file)
                .map_err(|error| Error::from(error).with_operation("find the environment file"))?;
        }
        let mut releases = ReleaseDirectory::builder(self.host.clone(), &self.settings.directory)
            .keep_releases(self.keep_releases)
            .strip_components(self.strip_components)
            .max_size(self.max_size);
        for (path, is_directory) in &self.shared {
            releases = if *is_directory { releases.shared_directory(path) } else { releases.shared_file(path) };
        }
        if let Some(assets) = self.assets {
            releases = releases.assets(assets);
        }
        let releases = releases.build()?;
        let (settings, ownership) = (Arc::new(self.settings), Ownership::new());
        Ok(SystemdRuntime { host: self.host, settings, releases, ownership })
    }
}

fn check(settings: &Settings) -> Result<()> {
    ServiceName::new(&settings.service)?;
    unit::check_path("directory of a service", &settings.directory)?;
    if !settings.directory.starts_with('/') || settings.directory.trim_end_matches('/').is_empty() {
        let what = format!("{:?} is not an absolute path that can belong to one service", settings.directory);
        return Err(Error::config(what));
    }
    let program = settings.command.first().map_or("", String::as_str);
    unit::check_path("program", program)?;
    if settings.command.iter().any(|word| word.contains('\0')) {
        return Err(Error::config("a command must not contain a NUL character"));
    }
    match &settings.scope {
        Scope::System { user } if user.is_empty() => {
            return Err(Error::config("no user is set that the program runs as")
                .with_hint("set `user`, usually to the one that deploys; or use `user_units`"));
        }
        Scope::System { user } if !is_user(user) => {
            return Err(Error::config(format!("{user:?} is not the name of a user")));
        }
        _ => {}
    }
    let PerSlot { blue, green } = settings.ports;
    if blue == green || blue == 0 || green == 0 {
        return Err(Error::config(format!("the slots need two ports, and have {blue} and {green}")));
    }
    if let Some(units) = &settings.units {
        units.iter().try_for_each(|name| unit::check_unit_name(name))?;
        if units.blue == units.green {
            return Err(Error::config(format!("the slots need two units, and have {:?} twice", units.blue)));
        }
    }
    settings.directives.iter().try_for_each(|(name, value)| unit::check_directive(name, value))?;
    check_variables(&settings.variables)
}

fn is_user(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}
