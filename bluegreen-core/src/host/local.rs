use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::durable::{self, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::host::{Command, Host, Output, Tunnel};
use crate::types::Progress;

/// This machine. Every adapter that takes a [`Host`] can be used on it and tested on it.
///
/// ```
/// use bluegreen_core::{Command, Host, LocalHost};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let host = LocalHost::new();
/// let command = Command::new("echo").arg("it's quoted");
/// let output = host.run(&command).await?.ok(&command, &host)?;
/// assert_eq!(output.text(), "it's quoted");
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalHost(());

impl LocalHost {
    /// This machine.
    pub const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for LocalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine")
    }
}

#[async_trait]
impl Host for LocalHost {
    async fn run(&self, command: &Command) -> Result<Output> {
        run(command).await.map_err(|error| error.with_operation(format!("run {command}")).with("host", self))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match tokio::fs::read(path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::from(error)
                .not_applied()
                .with_operation("read a file")
                .with("path", path)
                .with("host", self)),
        }
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        let (path, contents) = (PathBuf::from(path), contents.to_vec());
        while_waited_for(move |wanted| durable::replace_if(wanted, &path, &contents, mode))
            .await
            .map_err(|error| error.with("host", self))
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        copy(local, Path::new(remote), progress).await.map_err(|error| error.with("host", self))
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        copy(Path::new(remote), local, progress).await.map_err(|error| error.with("host", self))
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        let (target, link) = (PathBuf::from(target), PathBuf::from(link));
        while_waited_for(move |wanted| durable::symlink_if(wanted, &target, &link))
            .await
            .map_err(|error| error.with("host", self))
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        Ok(Tunnel::direct(address))
    }
}

async fn run(command: &Command) -> Result<Output> {
    let words = command.words()?;
    let (program, args) = words.split_first().ok_or_else(|| Error::config("an empty command"))?;
    let mut process = tokio::process::Command::new(program);
    process
        .args(args)
        .envs(command.variables().iter().map(|(name, value)| (name, value.reveal())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = command.working_directory() {
        process.current_dir(directory);
    }
    let mut child = process.spawn().map_err(|error| Error::from(error).not_applied())?;
    let mut group = GroupGuard(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());

    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input closes the pipe early; that is its own affair.
            let _ = stdin.write_all(command.input()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let limit = command.kept_output();
    let all = async { tokio::join!(feed, keep_tail(stdout, limit), keep_tail(stderr, limit), child.wait()) };
    match tokio::time::timeout(command.time_limit(), all).await {
        Ok(((), stdout, stderr, status)) => {
            let status = status?;
            group.0 = None;
            let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| signal.to_string());
            Ok(Output { status: status.code(), signal, stdout: stdout?, stderr: stderr? })
        }
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("did not end within {:?}, and was killed", command.time_limit()),
        )),
    }
}

/// Kills the whole process group unless the command ended by itself, also when the call is cut off.
struct GroupGuard(Option<Pid>);

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended in this moment: then there is nothing left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn keep_tail(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>> {
    let Some(mut stream) = stream else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..count]);
        if kept.len() > limit.saturating_mul(2) {
            kept.drain(..kept.len() - limit);
        }
    }
    kept.drain(..kept.len().saturating_sub(limit));
    Ok(kept)
}

async fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<()> {
    let (from, to, progress) = (from.to_owned(), to.to_owned(), progress.clone());
    while_waited_for(move |wanted| {
        let what = from.display().to_string();
        let at = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| {
                Error::from(error).not_applied().with_operation("copy a file").with("path", path)
            }
        };
        let mut source = std::fs::File::open(&from).map_err(at(&from))?;
        let total = source.metadata().map_err(at(&from))?.len();
        if std::fs::metadata(&to).is_ok_and(|meta| meta.is_file() && meta.len() == total) && same(&from, &to)? {
            progress.bytes(&what, total, Some(total));
            return Ok(());
        }
        let directory = durable::parent(&to);
        let mut copy = tempfile::NamedTempFile::new_in(directory).map_err(at(directory))?;
        let (mut done, mut chunk) = (0, vec![0; 256 << 10]);
        loop {
            let count = source.read(&mut chunk).map_err(at(&from))?;
            if count == 0 {
                break;
            }
            std::io::Write::write_all(&mut copy, &chunk[..count]).map_err(at(directory))?;
            done += count as u64;
            progress.bytes(&what, done, Some(total));
        }
        durable::persist_if(wanted, copy, &to)
    })
    .await
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(digest(one)? == digest(other)?)
}

fn digest(path: &Path) -> Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hash.finalize().to_vec());
        }
        hash.update(&chunk[..count]);
    }
}

/// Does blocking work on another thread. When this is cut off, the work goes on, and puts nothing in place any more.
async fn while_waited_for<T: Send + 'static>(work: impl FnOnce(&Wanted) -> Result<T> + Send + 'static) -> Result<T> {
    struct WithdrawOnDrop(Wanted);
    impl Drop for WithdrawOnDrop {
        fn drop(&mut self) {
            self.0.withdraw();
        }
    }
    let waiting = WithdrawOnDrop(Wanted::default());
    let wanted = waiting.0.clone();
    match tokio::task::spawn_blocking(move || work(&wanted)).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Unexpected, "a file operation was cut off").with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::Secret;

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_all_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid_file.display());
        let command = Command::script(script).timeout(Duration::from_millis(500));
        let error = LocalHost::new().run(&command).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child {pid} is still there");
    }

    #[tokio::test]
    async fn streams_status_signal_input_environment_and_directory_arrive() {
        let host = LocalHost::new();
        let command = Command::script(r#"cat; printf %s "$TOKEN" >&2; pwd; exit 7"#)
            .stdin("in ")
            .env("TOKEN", Secret::new("t0ken"))
            .directory("/");
        let output = host.run(&command).await.unwrap();
        assert_eq!((output.text().as_str(), output.error_text().as_str()), ("in /", "t0ken"));
        assert_eq!(output.status, Some(7));
        let error = output.ok(&command, &host).unwrap_err();
        assert!(error.to_string().contains("exit status 7"), "{error}");

        let killed = host.run(&Command::script("kill -9 $$")).await.unwrap();
        assert_eq!((killed.status, killed.signal.as_deref()), (None, Some("9")));
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let command = Command::script("seq 1 100000; echo end").output_limit(10);
        let output = LocalHost::new().run(&command).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "99\n100000\nend\n".split_at(4).1);
    }

    #[tokio::test]
    async fn a_missing_program_is_not_found_and_changed_nothing() {
        let error = LocalHost::new().run(&Command::new("no-such-program-here")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, crate::Effect::NotApplied));
    }
}
