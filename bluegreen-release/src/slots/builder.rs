//! The settings that all runtimes of releases in slots have.

use std::sync::Arc;

use bluegreen_core::{Error, Host, Ownership, Result};

use super::runner::Slots;
use super::settings::SlotSettings;
use crate::directory::ReleaseDirectory;

/// What the builder of a runtime holds in its field `slots`.
#[derive(Debug, Clone)]
pub(crate) struct SlotsBuilder {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) settings: SlotSettings,
    pub(crate) shared: Vec<(String, bool)>,
    pub(crate) assets: Option<String>,
    pub(crate) keep_releases: usize,
    pub(crate) strip_components: usize,
    pub(crate) max_size: u64,
}

impl SlotsBuilder {
    pub(crate) fn new(host: Arc<dyn Host>, service: String) -> Self {
        Self {
            host,
            settings: SlotSettings::new(service),
            shared: Vec::new(),
            assets: None,
            keep_releases: crate::DEFAULT_KEEP_RELEASES,
            strip_components: 0,
            max_size: crate::DEFAULT_MAX_SIZE,
        }
    }

    pub(crate) fn build(mut self) -> Result<Slots> {
        self.settings.check()?;
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
        Ok(Slots { host: self.host, settings: Arc::new(self.settings), releases, ownership: Ownership::new() })
    }
}

/// The setters of a builder with a field `slots`. `$lookup` says where a program without a slash is looked up.
macro_rules! slots_setters {
    ($lookup:literal) => {
        /// Sets the directory on the server that belongs to this service, as an absolute path; `/srv/<service>` unless set.
        pub fn directory(mut self, path: impl Into<String>) -> Self {
            self.slots.settings.directory = path.into();
            self
        }

        /// Sets the program and its arguments; `bin/<service>` unless set. A program with a slash is a path in the release, one
        #[doc = concat!("that begins with a slash is on the server, and any other is looked up ", $lookup, " (`python3`, `node`).")]
        ///
        /// `{port}` and `{slot}` are filled in. No shell sees the words, and nothing else in them is replaced; `PORT`, `SLOT`
        /// and `VERSION` are in the environment too.
        pub fn command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
            self.slots.settings.command = words.into_iter().map(Into::into).collect();
            self
        }

        /// The ports that blue's and green's programs are told to listen on. Default: 4000 and 4001
        /// ([`DEFAULT_PORTS`](crate::DEFAULT_PORTS)).
        pub fn ports(mut self, ports: impl Into<bluegreen_core::PerSlot<u16>>) -> Self {
            self.slots.settings.ports = ports.into();
            self
        }

        /// Adds a variable to the program's environment. Settings of a release are added too, and come before it.
        pub fn env(mut self, name: impl Into<String>, value: bluegreen_core::Secret) -> Self {
            self.slots.settings.variables.insert(name.into(), value);
            self
        }

        /// Adds the variables of a local file, which is read by each [`prepare`](bluegreen_core::Runtime::prepare): see
        /// [`read_env_file`](crate::read_env_file). What is set one by one comes before what a file says, and the first of
        /// several files before the others.
        pub fn env_file(mut self, path: impl Into<std::path::PathBuf>) -> Self {
            self.slots.settings.env_files.push(path.into());
            self
        }

        /// Shares a directory between all releases: uploads, caches, sessions.
        pub fn shared_directory(mut self, path: impl Into<String>) -> Self {
            self.slots.shared.push((path.into(), true));
            self
        }

        /// Shares a file between all releases, such as a database of SQLite.
        pub fn shared_file(mut self, path: impl Into<String>) -> Self {
            self.slots.shared.push((path.into(), false));
            self
        }

        /// Serves the files of all kept releases that have a hash in their names from `<directory>/assets`: see
        /// [`ReleaseDirectoryBuilder::assets`](crate::ReleaseDirectoryBuilder::assets).
        pub fn assets(mut self, path: impl Into<String>) -> Self {
            self.slots.assets = Some(path.into());
            self
        }

        /// Sets how many releases stay on the server; [`DEFAULT_KEEP_RELEASES`](crate::DEFAULT_KEEP_RELEASES) (5) unless set.
        pub fn keep_releases(mut self, count: usize) -> Self {
            self.slots.keep_releases = count;
            self
        }

        /// Sets how many leading directories of a tarball's members are left out; none unless set.
        pub fn strip_components(mut self, count: usize) -> Self {
            self.slots.strip_components = count;
            self
        }

        /// Sets how many bytes a release may hold, unpacked; [`DEFAULT_MAX_SIZE`](crate::DEFAULT_MAX_SIZE) (8 GiB) unless set.
        pub fn max_size(mut self, bytes: u64) -> Self {
            self.slots.max_size = bytes;
            self
        }
    };
}
pub(crate) use slots_setters;
