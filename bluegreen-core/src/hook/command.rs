use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::command_variables::{tell_target, variable_name};
use crate::error::Result;
use crate::hook::{Hook, HookCall};
use crate::host::{Command, Host};
use crate::types::Secret;

/// A hook that runs a command, on this machine or on any [`Host`], and takes exit status 0 for success.
///
/// The command receives in its environment:
///
/// | variable | value |
/// |---|---|
/// | `SERVICE` | the service |
/// | `SLOT`, `VERSION` | the slot and the version of [`HookCall::target`] |
/// | `SETTING_<NAME>` | each setting of that release, its name in capitals, with `_` for all but letters and digits |
/// | `FROM_SLOT`, `FROM_VERSION` | the release that had the traffic when the operation began; not set for a first deploy |
/// | `HOOK`, `PLACE` | the name of the hook, and where it runs: `before-shift-50` |
/// | `PERCENT` | the share of traffic, before and after a shift |
/// | `OPERATION`, `KIND`, `BY` | the operation's id, what it is (`deploy`), and who runs it |
/// | `OUTCOME`, `CAUSE` | after the end: one word (`succeeded`, `rolled back`), and why |
///
/// They take the place of variables of the same names that the command has. Its own variables are secrets by type, and never in
/// a command line, a log or an error. A command that does not end in the hook's time, or in its own
/// [`timeout`](Command::timeout), is ended by the host, with what it has started.
///
/// ```
/// use bluegreen_core::hook::{CommandHook, HookStep};
/// use bluegreen_core::{Command, LocalHost, Secret};
///
/// let clear = Command::script(r#"redis-cli -n "$SETTING_CACHE_DATABASE" FLUSHDB"#)
///     .called("clear the cache")
///     .env("REDISCLI_AUTH", Secret::new("hunter2"));
/// let step = HookStep::before_first_shift("clear-cache", CommandHook::new(LocalHost::new(), clear)).repeatable(true);
/// assert_eq!(step.to_string(), "script `clear the cache` on this machine");
/// ```
#[derive(Debug, Clone)]
pub struct CommandHook {
    host: Arc<dyn Host>,
    command: Command,
}

impl CommandHook {
    /// A hook that runs `command` on `host`.
    pub fn new(host: impl Host, command: Command) -> Self {
        Self { host: Arc::new(host), command }
    }

    fn command_for(&self, call: &HookCall) -> Command {
        let mut command = tell_target(self.command.clone(), &call.target)
            .timeout(self.command.time_limit().min(call.timeout))
            .env("HOOK", Secret::new(call.hook.as_str()))
            .env("PLACE", Secret::new(call.place.to_string()))
            .env("OPERATION", Secret::new(call.operation.as_str()))
            .env("KIND", Secret::new(call.kind.to_string()))
            .env("BY", Secret::new(&call.by));
        for (name, value) in call.target.release.settings() {
            command = command.env(variable_name("SETTING", name), Secret::new(value));
        }
        if let Some(from) = &call.from {
            command = command
                .env("FROM_SLOT", Secret::new(from.slot.as_str()))
                .env("FROM_VERSION", Secret::new(from.version().as_str()));
        }
        if let Some(percent) = call.place.percent() {
            command = command.env("PERCENT", Secret::new(percent.to_string()));
        }
        if let Some(outcome) = &call.outcome {
            command = command
                .env("OUTCOME", Secret::new(outcome.word()))
                .env("CAUSE", Secret::new(outcome.cause().unwrap_or_default()));
        }
        command
    }
}

impl fmt::Display for CommandHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.command, self.host)
    }
}

#[async_trait]
impl Hook for CommandHook {
    async fn run(&self, call: &HookCall) -> Result<()> {
        self.host.run(&self.command_for(call)).await?.ok(&self.command, &self.host).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::error::ErrorKind;
    use crate::hook::{HookName, HookPlace};
    use crate::host::LocalHost;
    use crate::state::{OperationKind, Outcome};
    use crate::types::{OperationId, Release, ServiceName, Slot, Target};

    fn call(place: HookPlace, outcome: Option<Outcome>) -> HookCall {
        let (service, operation) = (ServiceName::new("shop").unwrap(), OperationId::new("deploy-1").unwrap());
        let target = |slot, version: &str| {
            let release = Release::new(version).unwrap().with_setting("cache.database", "1");
            Target::new(service.clone(), slot, release, operation.clone())
        };
        HookCall {
            service: service.clone(),
            operation: operation.clone(),
            kind: OperationKind::Deploy,
            by: "ann".to_owned(),
            hook: HookName::new("clear-cache").unwrap(),
            place,
            target: target(Slot::Green, "2.0"),
            from: Some(target(Slot::Blue, "1.0")),
            outcome,
            timeout: Duration::from_secs(60),
        }
    }

    async fn run(script: &str, call: &HookCall) -> Result<()> {
        CommandHook::new(LocalHost::new(), Command::script(script).called("hook")).run(call).await
    }

    #[tokio::test]
    async fn the_command_is_told_what_happens_where() {
        let said = r#"test "$SERVICE $SLOT $VERSION $FROM_SLOT $FROM_VERSION $SETTING_CACHE_DATABASE" = \
            "shop green 2.0 blue 1.0 1" && test "$HOOK $PLACE $PERCENT $OPERATION $KIND $BY ${OUTCOME-none}" = \
            "clear-cache before-shift-50 50 deploy-1 deploy ann none""#;
        run(said, &call(HookPlace::BeforeShift(50), None)).await.unwrap();
        let ended = Outcome::RolledBack { cause: "it's $(bad)".to_owned() };
        let said = r#"test "$PLACE $OUTCOME: $CAUSE ${PERCENT-none}" = "after-failure rolled back: it's \$(bad) none""#;
        run(said, &call(HookPlace::AfterFailure, Some(ended))).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_fails_says_what_it_said() {
        let error = run("echo 'NOAUTH' >&2; exit 3", &call(HookPlace::BeforeDeploy, None)).await.unwrap_err();
        assert!(error.chain().contains("exit status 3: NOAUTH"), "{}", error.chain());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let mut call = call(HookPlace::BeforeDeploy, None);
        call.timeout = Duration::from_secs(1);
        let error = run(&script, &call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let (pid, end) = (rustix::process::Pid::from_raw(pid).unwrap(), Instant::now() + Duration::from_secs(30));
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            assert!(Instant::now() < end, "{pid:?} still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ended, and not yet collected by whoever inherited it.
    fn is_zombie(pid: rustix::process::Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }
}
