//! The `pre_stop:` hooks of the compose file. Compose runs them when it stops a container; here the engine is told to.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::container::Container;
use crate::engine::{Engine, engine_error, quick};
use crate::labels;

/// One hook, as `config` prints it.
#[derive(Deserialize)]
struct Hook {
    command: Vec<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    privileged: Option<bool>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    environment: std::collections::BTreeMap<String, Value>,
}

/// Runs a container's hooks, one after the other, for as long as it is given to end. One that fails does not keep it from
/// being stopped.
pub(crate) async fn run(engine: &Engine, container: &Container, limit: Duration) {
    let Some(text) = container.label(labels::PRE_STOP) else { return };
    let hooks = async {
        let hooks: Vec<Hook> = serde_json::from_str(text)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the label with its hooks is not understood"))?;
        for hook in hooks {
            one(engine, container, hook).await?;
        }
        Ok::<_, Error>(())
    };
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}")));
    if let Err(error) = tokio::time::timeout(limit, hooks).await.unwrap_or_else(late) {
        tracing::warn!(service = container.service, error = %error.chain(), "a pre_stop hook failed");
    }
}

async fn one(engine: &Engine, container: &Container, hook: Hook) -> Result<()> {
    let docker = engine.docker().await?;
    let pair = |(name, value): (String, Value)| match value {
        Value::Null => name,
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    let options = CreateExecOptions {
        cmd: Some(hook.command),
        user: hook.user,
        privileged: hook.privileged,
        working_dir: hook.working_dir,
        env: Some(hook.environment.into_iter().map(pair).collect()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let id = quick("prepare a hook", docker.create_exec(&container.id, options)).await?.id;
    let started = docker.start_exec(&id, None).await.map_err(engine_error)?;
    let mut printed = String::new();
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(chunk) = output.next().await {
            if let Ok(LogOutput::StdErr { message }) = &chunk {
                printed = String::from_utf8_lossy(message).trim().to_owned();
            }
        }
    }
    match quick("ask how a hook ended", docker.inspect_exec(&id)).await?.exit_code {
        Some(0) => Ok(()),
        status => Err(Error::new(ErrorKind::Unexpected, format!("exit status {}: {printed}", status.unwrap_or(-1)))),
    }
}
