//! The Unix socket over which another process steers the proxy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Ownership, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::wire::{Answer, Ask, LONGEST_LINE, Question, Refused};

/// How long a peer may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many peers may be about to ask. Whoever asks does so at once, so that one more means that the one which has
/// been silent for longest has no question.
const MOST_SILENT: usize = 16;

/// The longest path of a Unix socket: 108 bytes with the closing NUL, see unix(7).
const LONGEST_PATH: usize = 107;

/// A bound control socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Whoever holds this may replace the socket's file. The system lets go of it when the process dies.
    _lock: File,
}

impl ControlSocket {
    /// Binds the socket, for the owner alone from its first moment. A file that a dead proxy left is replaced.
    ///
    /// # Errors
    /// `Conflict` when a living proxy has it.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        bind(path).map_err(|error| error.with_operation("open the proxy's control socket").with("path", path.display()))
    }

    /// Answers peers for as long as it is polled.
    pub(super) async fn serve(&self, core: Arc<Core>) -> Infallible {
        let mut silent = VecDeque::<CancellationToken>::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    silent.retain(|peer| !peer.is_cancelled());
                    if silent.len() >= MOST_SILENT
                        && let Some(longest) = silent.pop_front()
                    {
                        longest.cancel();
                    }
                    let peer = CancellationToken::new();
                    silent.push_back(peer.clone());
                    let core = core.clone();
                    tokio::spawn(async move {
                        if timeout(PATIENCE, serve_peer(&core, stream, peer)).await.is_err() {
                            tracing::warn!("a peer on the control socket was too slow");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a peer on the control socket could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> Result<ControlSocket> {
    let path = std::path::absolute(path).map_err(|error| Error::from(error).not_applied())?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::config("this is not the path of a file"));
    };
    let taken = |error: std::io::Error| Error::from(error).not_applied();
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    // For the owner alone: whoever could read it could also hold it.
    let lock = File::options().create(true).append(true).mode(0o600).open(directory.join(lock_name)).map_err(taken)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(Error::new(ErrorKind::Conflict, "another proxy is steered through this socket")
                .not_applied()
                .with_hint("end it first, or give this one a socket of its own"));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(taken(error)),
    }
    if std::fs::symlink_metadata(&path).is_ok_and(|found| !is_socket(&found)) {
        return Err(Error::new(ErrorKind::Conflict, "there is a file of this name that is not a socket").not_applied());
    }
    // A socket gets its mode from the umask, and could be used before it is set right. So it is made in a directory
    // that nobody else can enter, and moved to its place when it is as it should be. That also replaces an old one in
    // one step.
    let private = tempfile::Builder::new()
        .prefix(".s")
        .rand_bytes(4)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(directory)
        .map_err(taken)?;
    let first = private.path().join("s");
    if let Some(long) = [&first, &path].into_iter().find(|path| path.as_os_str().len() > LONGEST_PATH) {
        return Err(Error::config(format!("a socket's path has at most {LONGEST_PATH} bytes"))
            .with("path", long.display())
            .with_hint("choose a shorter directory"));
    }
    let listener = UnixListener::bind(&first).map_err(taken)?;
    std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o600)).map_err(taken)?;
    std::fs::rename(&first, &path).map_err(taken)?;
    Ok(ControlSocket { listener, path, _lock: lock })
}

fn is_socket(found: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
}

/// Answers one question. The peer is silent until it has asked; one that is told to go while it is silent gets nothing.
async fn serve_peer(core: &Arc<Core>, mut stream: UnixStream, silent: CancellationToken) {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST_LINE));
    let read = tokio::select! {
        biased;
        read = reader.read_line(&mut line) => read,
        () = silent.cancelled() => return,
    };
    silent.cancel();
    let answer = match read {
        Ok(_) if line.ends_with('\n') => match serde_json::from_str(&line) {
            Ok(question) => answer(core, question).await.unwrap_or_else(|error| refused(&error)),
            Err(error) => refused(&Error::config("the proxy does not understand the question").with_source(error)),
        },
        Ok(_) if line.is_empty() => return,
        _ => refused(&Error::config("a question is one line of JSON, and not a long one")),
    };
    let Ok(mut bytes) = serde_json::to_vec(&answer) else { return };
    bytes.push(b'\n');
    // A peer that has gone without waiting for the answer is its own affair.
    let _ = writer.write_all(&bytes).await;
    let _ = writer.shutdown().await;
}

async fn answer(core: &Arc<Core>, Question { ask, service }: Question) -> Result<Answer> {
    let asking = Ownership::new();
    service.map_or(Ok(()), |service| asking.bind(&service))?;
    core.verify(&asking)?;
    Ok(match ask {
        Ask::Whose => Answer::Done,
        Ask::Current => Answer::Current { split: core.split() },
        Ask::Attach { slot, address, version } => {
            core.attach(&asking, slot, address, version).await?;
            Answer::Done
        }
        Ask::Shift { from, to } => {
            core.shift(&asking, from, to).await?;
            Answer::Done
        }
        Ask::InFlight { slot } => Answer::InFlight { count: core.in_flight(slot) },
        Ask::Counts { slot } => {
            let (answered, failed) = core.counts(slot);
            Answer::Counts { run: core.run.clone(), answered, failed }
        }
    })
}

fn refused(error: &Error) -> Answer {
    Answer::Refused(Refused::from(error))
}
