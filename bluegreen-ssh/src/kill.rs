//! Ending processes on the server, with all their descendants.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::Command;
use tokio::sync::oneshot;

use crate::connection::{Connection, Way};
use crate::exec::{Ended, Event, Exec};
use crate::failure::Failure;
use crate::kill_queue::Kill;
use crate::script::{Feed, Script};

/// Ends a process and all its descendants. It takes no session from commands, and works also where none is left.
///
/// # Errors
/// When it is not certain that all have ended.
pub(crate) async fn kill(connection: &Arc<Connection>, pid: u32, sudo: bool) -> Result<(), Failure> {
    let (done, ended) = oneshot::channel();
    if connection.kills.push(Kill { pid, sudo, done }) {
        let connection = Arc::clone(connection);
        tokio::spawn(async move { work_off(&connection).await });
    }
    match ended.await {
        Ok(outcome) => outcome.map_err(Failure::Lost),
        Err(_) => Err(connection.lost().await),
    }
}

async fn work_off(connection: &Arc<Connection>) {
    loop {
        let batch = connection.kills.take();
        let Some(sudo) = batch.first().map(|kill| kill.sudo) else { return };
        let pids: Vec<_> = batch.iter().map(|kill| kill.pid.to_string()).collect();
        let together = end(connection, &pids, sudo).await;
        for kill in batch {
            let outcome = match &together {
                // One that cannot be ended says nothing about the others.
                Err(_) if pids.len() > 1 => end(connection, &[kill.pid.to_string()], sudo).await,
                outcome => outcome.clone(),
            };
            let _ = kill.done.send(outcome);
        }
    }
}

/// Ends processes over this connection, or over another one where the server opens no more sessions in it.
async fn end(connection: &Arc<Connection>, pids: &[String], sudo: bool) -> Result<(), String> {
    let here = async {
        let way = connection.extra_session().await?;
        run(connection, way, pids, sudo).await
    };
    if let Ok(Ok(outcome)) = tokio::time::timeout(PATIENCE, here).await {
        return outcome;
    }
    if connection.is_closed() {
        return Err(connection.lost().await.to_string());
    }
    tracing::debug!("a command is ended over a connection of its own");
    let aside = async {
        let other = Arc::new(Connection::open(connection.settings()).await.map_err(Failure::Refused)?);
        let way = other.extra_session().await?;
        run(&other, way, pids, sudo).await
    };
    match tokio::time::timeout(PATIENCE, aside).await {
        Ok(outcome) => outcome.unwrap_or_else(|failure| Err(failure.to_string())),
        Err(_) => Err(format!("it was not ended within {PATIENCE:?}")),
    }
}

/// The outer error: it is not known whether the script was run.
async fn run(
    connection: &Arc<Connection>,
    way: Way,
    pids: &[String],
    sudo: bool,
) -> Result<Result<(), String>, Failure> {
    let script = if sudo {
        let command = Command::script(KILL).args(pids).sudo(true);
        Script::command(&command).map_err(Failure::Refused)?
    } else {
        Script::inline(KILL, &pids.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut exec = Exec::new(connection, way, None, &script, Feed::Nothing);
    exec.ask().await?;
    let input = exec.input();
    let feed = async {
        if let Some(input) = input {
            input.close().await;
        }
    };
    tokio::pin!(feed);
    let (mut said, mut fed) = (Vec::new(), false);
    loop {
        let event = tokio::select! {
            event = exec.next() => event?,
            () = &mut feed, if !fed => {
                fed = true;
                continue;
            }
        };
        match event {
            Event::Stdout(_) => {}
            Event::Stderr(data) => said.extend_from_slice(&data),
            Event::Ended(Ended { status: Some(0), .. }) => return Ok(Ok(())),
            Event::Ended(_) => return Ok(Err(String::from_utf8_lossy(&said).trim().to_owned())),
        }
    }
}

const KILL: &str = include_str!("scripts/kill.sh");

const PATIENCE: Duration = Duration::from_secs(10);
