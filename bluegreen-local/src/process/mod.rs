//! [`ProcessRuntime`]: each slot is a process of this machine.

mod builder;
mod content;
mod log;
mod procfs;
mod slot_directory;
mod supervise;
mod template;
mod terminate;

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{
    Clock, Endpoint, Error, ErrorKind, Instance, LocalHost, Ownership, Preview, Result, Runtime, ServiceName, Slot,
    Stopped, SystemClock, Target,
};

pub use builder::ProcessRuntimeBuilder;
use slot_directory::{Record, SlotDirectory, make_private};

/// Runs each slot as a process of this machine, which outlives the deployer.
///
/// The command is given as its words; these placeholders are filled in for each start: `{artifact}`, `{port}`,
/// `{service}`, `{setting:NAME}` (a setting of the release), `{slot}` and `{version}`; `{{` and `}}` are braces. The
/// service gets `PORT`, `SLOT` and `VERSION` in its environment and has to listen on that port.
///
/// # Guarantees
///
/// - A service runs in a session of its own: it survives the deployer, also its SIGKILL, and a Ctrl-C in its terminal.
///   A new deployer process finds it again. (A service manager that ends whole control groups still ends it: under
///   systemd, run the deployer with `KillMode=process`.)
/// - A process is known by pid, start time and boot, so a pid that is used again is not mistaken for ours. The record
///   is written before the start, and the process carries a unique mark in its environment: also a start that was cut
///   off in the middle is found.
/// - [`stop`](Runtime::stop) sends SIGTERM to the process group, then SIGKILL to all of the session and to all that
///   carry the mark. Only a process that left the session and wiped its environment can escape.
/// - After a crash, [`inspect`](Runtime::inspect) gives the exit status, also to a deployer that was not there when it
///   happened. It is unknown when the whole session was killed from outside, or the machine restarted.
/// - The same version with another artifact is a `Conflict`: the checksum of each version is kept, and where its artifact
///   is, which must stay there.
///
/// # Files
///
/// All under the state directory, which belongs to one service, readable by the owner alone: for each slot
/// `instance.json`, `exit-*` and one log per version (`blue/1.4.0.log`), to which the service's output is appended;
/// `releases/` with the checksums. Each slot keeps the logs of the last ten versions. They are not rotated here; a tool
/// that copies and truncates can do so.
///
/// ```
/// use bluegreen_core::{OperationId, Release, Runtime, ServiceName, Slot, Target};
/// use bluegreen_local::ProcessRuntime;
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let state = tempfile::tempdir()?;
/// let runtime = ProcessRuntime::builder(state.path()).program("sleep").arg("60").build()?;
///
/// let release = Release::new("1.0.0")?;
/// let target = Target::new(ServiceName::new("shop")?, Slot::Blue, release, OperationId::new("op-1")?);
/// runtime.prepare(&target).await?;
/// let instance = runtime.start(&target).await?;
/// assert_eq!(instance.to_string(), "running 1.0.0");
///
/// runtime.stop(Slot::Blue, Duration::from_secs(10)).await?;
/// let instance = runtime.inspect(Slot::Blue).await?;
/// assert_eq!(instance.to_string(), "stopped 1.0.0 (stopped on request, exit status 143 (signal 15))");
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    settings: Arc<ProcessRuntimeBuilder>,
    ownership: Ownership,
}

impl ProcessRuntime {
    /// Begins the configuration of a runtime for one service, which keeps its records in `state_directory`.
    pub fn builder(state_directory: impl AsRef<Path>) -> ProcessRuntimeBuilder {
        ProcessRuntimeBuilder::new(state_directory.as_ref())
    }

    fn new(settings: ProcessRuntimeBuilder) -> Self {
        Self { settings: Arc::new(settings), ownership: Ownership::new() }
    }

    /// Where the log of this version in this slot is.
    pub fn log_file(&self, slot: Slot, version: &bluegreen_core::Version) -> PathBuf {
        self.directory(slot).log(version)
    }

    fn directory(&self, slot: Slot) -> SlotDirectory {
        SlotDirectory::new(&self.settings.state, slot)
    }

    /// Refuses a state directory of another service.
    async fn verify(&self) -> Result<()> {
        self.ownership.verify(&LocalHost::new(), &self.place()).await?;
        for slot in Slot::BOTH {
            // An earlier version left no other mark than this.
            let record = self.blocking(move |this| this.directory(slot).load()).await?;
            self.ownership.check(record.as_ref().map(|record| record.service.as_str()), self.place())?;
        }
        Ok(())
    }

    /// As [`verify`](Self::verify), for a call that writes for a service.
    async fn claim(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)?;
        self.verify().await?;
        self.ownership.claim(&LocalHost::new(), &self.place()).await
    }

    fn place(&self) -> String {
        self.settings.state.display().to_string()
    }

    /// Runs blocking work to its end, also when the call is cut off: a start is not left half done.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "the work was cut off").with_source(error)),
        }
    }

    /// Checks all that must hold before a start, and returns the checksum of the artifact.
    fn check(&self, target: &Target) -> Result<Option<String>> {
        self.settings.template.check(target)?;
        let releases = self.releases();
        make_private(&releases)?;
        content::claim(&releases, target.version(), target.release.artifact())
    }

    fn releases(&self) -> PathBuf {
        self.settings.state.join("releases")
    }

    /// With the artifact that was prepared, where only the version is given.
    fn with_artifact(&self, mut target: Target) -> Target {
        if target.release.artifact().is_none()
            && let Some(place) = content::place(&self.releases(), target.version())
        {
            target.release = target.release.with_artifact(place);
        }
        target
    }

    fn start_now(&self, target: &Target) -> Result<Started> {
        let target = &self.with_artifact(target.clone());
        let directory = self.directory(target.slot);
        directory.create()?;
        let _lock = directory.lock()?;
        let content = self.check(target)?;
        if let Some(record) = directory.load()? {
            if let Condition::Running = condition(&directory, &record) {
                return self.occupied(record, target, content);
            }
            if !procfs::members(record.process.as_ref(), &record.token).is_empty() {
                return Ok(Started::Leftovers(record));
            }
            let _ = std::fs::remove_file(directory.exit_file(&record.token));
        }
        let port = self.choose_port(target.slot)?;
        let command = self.settings.template.fill(target, port)?;
        let log = directory.log(target.version());
        let log_start = supervise::open_log(&log)?.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        directory.prune_logs();
        let mut record = Record {
            format: slot_directory::FORMAT,
            service: target.service.clone(),
            version: target.version().clone(),
            content,
            settings: Some(target.release.settings_map().clone()),
            operation: target.operation.clone(),
            started: SystemClock.now(),
            token: procfs::fresh_token()?,
            port,
            log_start,
            process: None,
            stop_requested: false,
        };
        directory.save(&record)?;
        let environment = self.environment(target, &record);
        let process = supervise::start(&command, environment, &log, &directory.exit_file(&record.token))?;
        tracing::info!(%target, %process, port, "started");
        record.process = Some(process);
        directory.save(&record)?;
        Ok(Started::Running(self.running(&record)))
    }

    fn occupied(&self, record: Record, target: &Target, content: Option<String>) -> Result<Started> {
        let is_same = record.version == *target.version() && record.content == content;
        let as_it_runs = record.settings.as_ref().is_none_or(|settings| settings == target.release.settings_map());
        let other = match (is_same, as_it_runs) {
            (true, true) => return Ok(Started::Running(self.running(&record))),
            (true, false) => " with other settings",
            (false, _) => "",
        };
        Err(Error::new(ErrorKind::Conflict, format!("version {} runs in the slot{other}", record.version))
            .not_applied()
            .with("slot", target.slot)
            .with("since", record.started)
            .with("operation", record.operation)
            .with_hint("`retire_now` stops it, where it has no traffic"))
    }

    fn environment(&self, target: &Target, record: &Record) -> Vec<(OsString, OsString)> {
        let inherited = self.settings.inherited.iter();
        let inherited = inherited.filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
        let given = self.settings.environment.iter().map(|(name, value)| (name.into(), value.reveal().into()));
        let own = [
            ("PORT".into(), record.port.to_string().into()),
            ("SLOT".into(), target.slot.as_str().into()),
            ("VERSION".into(), target.version().as_str().into()),
            (procfs::MARK.into(), record.token.clone().into()),
        ];
        inherited.chain(given).chain(own).collect()
    }

    fn choose_port(&self, slot: Slot) -> Result<u16> {
        if let Some(port) = self.settings.fixed_port(slot) {
            return self.free(port).map(|()| port);
        }
        // The other slot may have its port and not listen on it yet.
        let taken = self.directory(slot.other()).load()?.map(|record| record.port);
        for _ in 0..16 {
            let listener = TcpListener::bind((self.settings.address, 0));
            let port =
                listener.and_then(|listener| listener.local_addr()).map(|address| address.port()).map_err(|error| {
                    Error::from(error)
                        .not_applied()
                        .with_operation("find a free port")
                        .with("address", self.settings.address)
                })?;
            if Some(port) != taken {
                return Ok(port);
            }
        }
        Err(Error::new(ErrorKind::Unexpected, "the system offers no port but the other slot's").not_applied())
    }

    /// Whether a port that was given is free: what starts on a taken one would end at once, and another's service answer.
    fn free(&self, port: u16) -> Result<()> {
        TcpListener::bind((self.settings.address, port)).map(drop).map_err(|error| {
            let taken = error.kind() == std::io::ErrorKind::AddrInUse;
            let error = Error::from(error)
                .not_applied()
                .with_operation("bind the slot's port")
                .with("address", format!("{}:{port}", self.settings.address));
            if taken {
                error.with_hint(format!(
                    "another program listens there: `ss -ltnp 'sport = :{port}'`, run as root, names it"
                ))
            } else {
                error
            }
        })
    }

    fn preview_now(&self, target: &Target) -> Result<()> {
        let target = &self.with_artifact(target.clone());
        self.settings.template.check(target)?;
        if let Some(artifact) = target.release.artifact() {
            content::check(&self.releases(), target.version(), artifact)?;
        }
        let directory = self.directory(target.slot);
        let occupied =
            directory.load()?.is_some_and(|record| !procfs::members(record.process.as_ref(), &record.token).is_empty());
        match self.settings.fixed_port(target.slot) {
            Some(port) if !occupied => self.free(port),
            _ => Ok(()),
        }
    }

    fn running(&self, record: &Record) -> Instance {
        let address = std::net::SocketAddr::new(self.settings.address, record.port);
        Instance::Running {
            version: Some(record.version.clone()),
            endpoints: vec![Endpoint::http(address.to_string())],
        }
    }
}

impl fmt::Display for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "processes of this machine, recorded in {}", self.settings.state.display())
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        self.verify().await?;
        let wanted = target.clone();
        let result = self.blocking(move |this| this.preview_now(&wanted)).await;
        result.map(|()| Preview::default()).map_err(|error| error.with_operation(format!("prepare {target}")))
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        self.claim(&target.service).await?;
        let prepared = target.clone();
        let result = self.blocking(move |this| this.check(&prepared).map(drop)).await;
        result.map_err(|error| error.with_operation(format!("prepare {target}")))
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        self.claim(&target.service).await?;
        let naming = |error: Error| error.with_operation(format!("start {target}"));
        loop {
            let wanted = target.clone();
            match self.blocking(move |this| this.start_now(&wanted)).await.map_err(naming)? {
                Started::Running(instance) => return Ok(instance),
                // The occupant has ended, and its children would hold on to its port.
                Started::Leftovers(record) => {
                    terminate::kill(record.process.as_ref(), &record.token).await.map_err(naming)?;
                }
            }
        }
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.verify().await?;
        let inspected = self.blocking(move |this| {
            let directory = this.directory(slot);
            let Some(record) = directory.load()? else { return Ok(Instance::Absent) };
            Ok(match condition(&directory, &record) {
                Condition::Running => this.running(&record),
                Condition::Ended(reason) => Instance::Stopped { version: Some(record.version), reason: Some(reason) },
            })
        });
        inspected.await.map_err(|error| error.with_operation(format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.verify().await?;
        let naming = |error: Error| error.with_operation(format!("stop {slot}"));
        let found = self.blocking(move |this| {
            let directory = this.directory(slot);
            if directory.load()?.is_none() {
                return Ok(None);
            }
            let _lock = directory.lock()?;
            let Some(mut record) = directory.load()? else { return Ok(None) };
            // A start that was cut off before it was recorded.
            if record.process.is_none() {
                record.process = procfs::leader(&record.token);
            }
            if procfs::members(record.process.as_ref(), &record.token).is_empty() {
                return Ok(None);
            }
            if directory.exit_status(&record.token).is_none() {
                record.stop_requested = true;
                directory.save(&record)?;
            }
            Ok(Some(record))
        });
        let Some(record) = found.await.map_err(naming)? else { return Ok(Stopped::default()) };
        let killed = terminate::terminate(record.process.as_ref(), &record.token, grace).await.map_err(naming)?;
        tracing::info!(%slot, version = %record.version, killed = killed.join(" "), "stopped");
        Ok(killed.into_iter().fold(Stopped::default(), Stopped::killing))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.verify().await?;
        let lines = self.blocking(move |this| {
            let directory = this.directory(slot);
            match directory.load()? {
                Some(record) => log::tail(&directory.log(&record.version), record.log_start, tail),
                None => Ok(Vec::new()),
            }
        });
        lines.await.map_err(|error| error.with_operation(format!("read the log of {slot}")))
    }
}

enum Started {
    Running(Instance),
    /// What was started before has ended, but not all of its children.
    Leftovers(Record),
}

enum Condition {
    Running,
    Ended(String),
}

/// Whether what was recorded runs, as the system shows it.
fn condition(directory: &SlotDirectory, record: &Record) -> Condition {
    let on_request = |reason: &str| match record.stop_requested {
        true => Condition::Ended(format!("stopped on request, {reason}")),
        false => Condition::Ended(reason.to_owned()),
    };
    if let Some(status) = directory.exit_status(&record.token) {
        return on_request(&supervise::in_words(status));
    }
    if record.process.as_ref().is_some_and(procfs::Process::is_running) {
        return Condition::Running;
    }
    if !procfs::members(record.process.as_ref(), &record.token).is_empty() {
        return Condition::Running;
    }
    // It may have written its exit status since we looked.
    if let Some(status) = directory.exit_status(&record.token) {
        return on_request(&supervise::in_words(status));
    }
    match &record.process {
        None => Condition::Ended("the deployer ended before it started the process".to_owned()),
        Some(process) if process.is_of_an_earlier_boot() => on_request("the machine was restarted since"),
        Some(_) => on_request("killed with its whole session, so the exit status is not known"),
    }
}
