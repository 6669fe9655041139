//! Releases of Elixir and Erlang on any [`Host`].

mod archive;
mod artifact;
mod builder;
mod console;
mod environment;
mod migrator;
mod prepare;
mod script;
mod settings;
mod start;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::Script;
use bluegreen_core::{
    Command, Endpoint, Error, ErrorKind, Host, Instance, Ownership, Preview, Result, Runtime, ServiceName, Slot,
    Stopped, Target, Version,
};

pub use artifact::Artifact;
pub use builder::{BeamRuntimeBuilder, DEFAULT_BOOT_DEADLINE, DEFAULT_EPMD_PORT, DEFAULT_KEEP_RELEASES, DEFAULT_PORTS};
pub use migrator::{BeamMigrator, BeamMigratorBuilder};
use settings::Settings;

/// Runs each slot as a node of a release that `mix release` made, on any [`Host`].
///
/// The release's artifact is its `.tar.gz` (`steps: [:assemble, :tar]`). Each slot has a port of its own, which the
/// service is told in `PORT`, and a node of its own; `SLOT` and `VERSION` say which. No Erlang is needed on the server
/// where the release has its own.
///
/// ```no_run
/// use bluegreen_core::{LocalHost, OperationId, Release, Runtime, Secret, ServiceName, Slot, Target};
/// use bluegreen_ssh::{BeamRuntime, SshHost};
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let host = SshHost::builder("deploy@web1.example.com").build()?;
/// let runtime = BeamRuntime::builder(host, "shop")
///     .directory("/srv/shop")
///     .ports((4000, 5000))
///     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
///     .build()?;
///
/// let release = Release::new("1.4.0")?.with_artifact("_build/prod/shop-1.4.0.tar.gz");
/// let target = Target::new(ServiceName::new("shop")?, Slot::Green, release, OperationId::new("op-1")?);
/// runtime.prepare(&target).await?;
/// let instance = runtime.start(&target).await?;
/// assert_eq!(instance.to_string(), "running 1.4.0");
/// println!("{}", runtime.rpc(Slot::Green, "IO.inspect(node())").await?);
/// # Ok(()) }
/// ```
///
/// # Guarantees
///
/// - **Prepare** reads the whole tarball here while the server takes it. One that is cut off, has no `bin/<app>`, or
///   has members that would land or point outside of it is refused. It is unpacked aside, and renamed into place with
///   its SHA-256: the same version with other content is a `Conflict`. What a cut-off left is removed by the next
///   prepare.
/// - **Start** runs `bin/<app> daemon`, and returns when the node has booted with all its applications. The node says
///   so itself, so that no second one is started to ask it. One that does not boot is an error with the last lines of
///   its log, and nothing of it stays. What is started in a slot is on record, durably, before.
/// - **A node is known by a mark** in the environment of its process, which is different for each start: neither a
///   process id that is used again, nor another node of the same name is mistaken for it. A name that another node has
///   already is a `Conflict`, before anything is started.
/// - **Stop** sends the node SIGTERM, which it takes as it takes `bin/<app> stop`, but needs neither a cookie nor a
///   second node; so it also works on a node whose cookie nobody knows. After the grace it ends by force, with its
///   heart, its ports and run_erl.
/// - **Secrets** are in no list of processes. The environment comes from a file (mode 0600), and so does the cookie:
///   `RELEASE_COOKIE` is set to a flag without a value, by which the node reads the cookie from the file in its home.
///   Two things follow: the service's `HOME` is a directory of its slot, so files such as `~/.pgpass` are looked for
///   there; and `RELEASE_COOKIE` in its environment is not the cookie. What processes of the same user can see in
///   `/proc` stays visible to them, as always.
/// - **Nothing listens beyond loopback** unless [`node_host`](BeamRuntimeBuilder::node_host) says so. A release whose
///   `env.sh`, or whose `vm.args` and `remote.vm.args`, have `-proto_dist inet6_tcp` listens on `::1`; [`rpc`](Self::rpc)
///   and consoles then need an IPv6 address for the host in the nodes' names: `::1 localhost` in `/etc/hosts`. A port mapper
///   (`epmd`) that runs already keeps its address. It stays behind when all nodes are gone, since it may serve others;
///   when we start it, it gets none of the service's environment.
/// - **What others have put into the environment file** or the cookie on the server is not overwritten, unless
///   [`overwrite_changes`](BeamRuntimeBuilder::overwrite_changes) is set: `prepare` is refused with the names of the variables
///   that differ. A file that no shell can read is repaired. What ran in a slot before a release whose start failed gets its
///   own environment when it is started again.
/// - Releases beyond [`keep_releases`](BeamRuntimeBuilder::keep_releases) are removed at the end of each prepare that
///   brought a new one, never those on record for a slot or with a process that runs.
///
/// # Files
///
/// In the service's directory on the server: `releases/<version>/`, `cookie`, `incoming/`, and for each slot, readable
/// by the owner alone, `slots/<slot>/` with `env` (and `env.*`, what is known of it), `record`, `home/`, `log.old/` (the log of the occupant before) and
/// `tmp/` (`RELEASE_TMP`, with `tmp/log/erlang.log.*`, which rotates by itself: five files of 100 kB).
///
/// # Needs
///
/// Linux with a POSIX `sh`, `flock`, `tar`, `gzip` and `/proc`; busybox will do. Tested with Elixir 1.14 on Erlang/OTP
/// 25. The release's `env.sh` may set what it likes but `RELEASE_NODE`, `RELEASE_DISTRIBUTION` and `ERL_ZFLAGS`.
#[derive(Debug, Clone)]
pub struct BeamRuntime {
    host: Arc<dyn Host>,
    settings: Arc<Settings>,
    ownership: Ownership,
}

impl BeamRuntime {
    /// Begins the configuration of a runtime for the release that is called `app` (its program is `bin/<app>`).
    pub fn builder(host: impl Host, app: impl Into<String>) -> BeamRuntimeBuilder {
        BeamRuntimeBuilder::new(Arc::new(host), app.into())
    }

    /// A runtime with all defaults, in the directory `<app>` where a login begins.
    ///
    /// # Errors
    /// `Config` when `app` cannot be the name of a release.
    pub fn new(host: impl Host, app: impl Into<String>) -> Result<Self> {
        Self::builder(host, app).build()
    }

    /// The full name of a slot's node.
    pub fn node(&self, slot: Slot) -> String {
        self.settings.node(slot)
    }

    /// Evaluates an expression on the running node of a slot, by `bin/<app> rpc`, and returns what it printed.
    ///
    /// The expression is in the server's list of processes while it runs: put no secret into it.
    ///
    /// # Errors
    /// `NotFound` when nothing was ever started in the slot; `Unexpected` with the exit status and the last lines of
    /// the output when the expression raises, or the node does not answer.
    pub async fn rpc(&self, slot: Slot, expression: &str) -> Result<String> {
        let about = |error: Error| error.with_operation(format!("run an expression on the node of {slot}"));
        self.verify().await.map_err(about)?;
        let command = self.on_node(slot, "rpc").arg(expression);
        let output = self.host.run(&command).await.map_err(about)?;
        match output.status {
            Some(0) => Ok(output.text()),
            Some(script::NO_RELEASE) => Err(about(nothing_there(slot)).with("host", &self.host)),
            _ => Err(about(script::failed(&*self.host, &output)).with("node", self.node(slot))),
        }
    }

    /// The command with which [`console`](Self::console) opens a console on the running node of a slot
    /// (`bin/<app> remote`): it needs a terminal, and its exit status is 44 when nothing was ever started there. Without one it would run what it is given
    /// on a node that is thrown away, and say that all is well; use [`rpc`](Self::rpc) there.
    pub fn remote(&self, slot: Slot) -> Command {
        self.on_node(slot, "remote")
    }

    fn on_node(&self, slot: Slot, word: &str) -> Command {
        self.script(slot, script::RPC, Duration::from_secs(15 * 60)).arg(word).command()
    }

    fn script(&self, slot: Slot, script: Script, patience: Duration) -> Script {
        script::in_slot(&self.settings, slot, script, patience)
    }

    fn running(&self, version: Version, port: u16) -> Instance {
        let endpoint = Endpoint::http(format!("127.0.0.1:{port}")).on(self.host.to_string());
        Instance::Running { version: Some(version), endpoints: vec![endpoint] }
    }

    /// Refuses a directory of another service.
    async fn verify(&self) -> Result<()> {
        self.ownership.verify(&*self.host, &self.settings.directory).await
    }

    /// As [`verify`](Self::verify), for a call that writes.
    async fn claim(&self, target: &Target) -> Result<()> {
        self.ownership.claim_for(&target.service, &*self.host, &self.settings.directory).await
    }

    async fn look(&self, slot: Slot) -> Result<Instance> {
        let reply = self.script(slot, script::INSPECT, Duration::ZERO).run(&*self.host).await?;
        let (version, detail) = reply.rest().split_once(' ').unwrap_or((reply.rest(), ""));
        match reply.word() {
            "absent" => Ok(Instance::Absent),
            "running" => match detail.parse() {
                Ok(port) => Ok(self.running(Version::new(version)?, port)),
                Err(_) => Err(reply.unexpected()),
            },
            "stopped" => {
                Ok(Instance::Stopped { version: Some(Version::new(version)?), reason: Some(detail.to_owned()) })
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn end(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let script = self.script(slot, script::STOP, grace).arg(start::hundredths(grace));
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "stopped" | "nothing" => Ok(Stopped::default()),
            "killed" => {
                tracing::warn!(%slot, host = %self.host, ?grace, "the node did not end in time, and was killed");
                Ok(Stopped::default().killing(format!("the node of {slot}")))
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn tail(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let log = self.settings.log(slot).to_owned();
        let script = self.script(slot, script::LOGS, Duration::ZERO).args([tail.to_string(), log]);
        Ok(script.run(&*self.host).await?.lines().to_vec())
    }
}

fn nothing_there(slot: Slot) -> Error {
    Error::new(ErrorKind::NotFound, format!("nothing was ever started in {slot}")).not_applied()
}

impl fmt::Display for BeamRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "releases of {} in {} on {}", self.settings.app, self.settings.directory, self.host)
    }
}

#[async_trait]
impl Runtime for BeamRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        self.verify().await?;
        let result = self.preview_release(target).await;
        result.map(|()| Preview::default()).map_err(|error| error.with_operation(format!("prepare {target}")))
    }

    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        self.verify().await?;
        let result = self.preview_changes(slot, &BTreeMap::new()).await;
        result
            .map(|()| Preview::default())
            .map_err(|error| error.with_operation(format!("look at the files of {slot}")))
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let about = |error: Error| error.with_operation(format!("prepare {target}"));
        // First what can be refused without the server.
        let environment = self.environment_for(target).await.map_err(about)?;
        self.claim(target).await?;
        self.prepare_release(target, &environment).await.map_err(about)
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        self.claim(target).await?;
        self.start_release(target).await.map_err(|error| error.with_operation(format!("start {target}")))
    }

    fn start_timeout(&self) -> Option<Duration> {
        Some(self.settings.boot_deadline)
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.verify().await?;
        self.look(slot).await.map_err(|error| error.with_operation(format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.verify().await?;
        self.end(slot, grace).await.map_err(|error| error.with_operation(format!("stop {slot}")))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.verify().await?;
        self.tail(slot, tail).await.map_err(|error| error.with_operation(format!("read the log of {slot}")))
    }
}
