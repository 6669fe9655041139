//! Uploads and downloads: one channel each, streamed, verified at the other end, in place only when whole.
//!
//! They go through a shell's standard streams and not through SFTP: this is faster (no request to answer per block),
//! the same channel compares, verifies and renames, and the server needs no SFTP subsystem.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Output, Progress, Result, hex};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::exec::{Ended, Event, Input};
use crate::files::{RemotePath, failed};
use crate::process::Process;
use crate::run::{Tail, cut_off};
use crate::script::{Feed, Script};
use crate::session::Session;

/// How much is read from a file at once.
const CHUNK: usize = 128 << 10;

/// How long a transfer may stand still, while the server computes a checksum or writes to its disk.
const PATIENCE: Duration = bluegreen_core::host::DEFAULT_TIMEOUT;

pub(crate) async fn upload(session: &Session, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
    match send(session, local, remote, progress).await {
        Ok(Some(dialogue)) => dialogue.leave("commit\n").await,
        Ok(None) => Ok(()),
        // Nothing is in place before it is told to be.
        Err(error) => Err(error.not_applied()),
    }
}

/// Sends a file, and checks that it has arrived; `None` when it was there already.
async fn send(session: &Session, local: &Path, remote: &str, progress: &Progress) -> Result<Option<Dialogue>> {
    let remote = RemotePath::new(remote)?;
    let what = local.display().to_string();
    let mut file = tokio::fs::File::open(local).await.map_err(|error| local_error(local, error))?;
    let size = file.metadata().await.map_err(|error| local_error(local, error))?.len();
    let script = format!("{}\n{}", include_str!("scripts/digest.sh"), include_str!("scripts/upload.sh"));
    let script = Script::inline(&script, &[remote.directory(), remote.whole(), &size.to_string()]);

    let mut dialogue = Dialogue::start(session, &script).await?;
    let mut line = dialogue.line().await?;
    if let Some(theirs) = line.strip_prefix("have ") {
        if theirs == digest_of(local).await? {
            progress.bytes(&what, size, Some(size));
            return dialogue.leave("keep\n").await.map(|()| None);
        }
        dialogue.send("send\n").await?;
        line = dialogue.line().await?;
    }
    if line != "send" {
        return Err(unexpected(&line));
    }

    let mut input = dialogue.input()?;
    let mut hash = Context::new(&SHA256);
    let copy = async {
        let mut done = 0;
        while done < size {
            let mut chunk = Vec::with_capacity(CHUNK);
            let left = size - done;
            let count = (&mut file).take(left.min(CHUNK as u64)).read_buf(&mut chunk).await;
            if count.map_err(|error| local_error(local, error))? == 0 {
                return Err(changed_meanwhile(local));
            }
            hash.update(&chunk);
            done += chunk.len() as u64;
            input.send(chunk).await;
            progress.bytes(&what, done, Some(size));
        }
        Ok(input)
    };
    dialogue.input = Some(dialogue.meanwhile(copy).await?);
    let ours = hex(hash.finish());
    let line = dialogue.line().await?;
    match line.strip_prefix("got ") {
        Some(theirs) if theirs == ours => Ok(Some(dialogue)),
        Some(theirs) => Err(corrupted(&ours, theirs)),
        None => Err(unexpected(&line)),
    }
}

pub(crate) async fn download(session: &Session, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
    let what = remote.to_owned();
    let remote = RemotePath::new(remote)?;
    let here = tokio::fs::metadata(local).await.ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
    let script = format!("{}\n{}", include_str!("scripts/digest.sh"), include_str!("scripts/download.sh"));
    let here = here.map_or("none".to_owned(), |size| size.to_string());
    let script = Script::inline(&script, &[remote.whole(), &here]);

    let mut dialogue = Dialogue::start(session, &script).await?;
    let line = dialogue.line().await.map_err(Error::not_applied)?;
    let mut words = line.split(' ');
    let size = match (words.next(), words.next().map(str::parse::<u64>)) {
        (Some("size"), Some(Ok(size))) => size,
        _ => return Err(unexpected(&line)),
    };
    if let Some(theirs) = words.next() {
        if theirs == digest_of(local).await? {
            progress.bytes(&what, size, Some(size));
            return dialogue.leave("keep\n").await;
        }
        dialogue.send("send\n").await?;
    }

    let directory = match local.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new().prefix(".download-").tempfile_in(directory);
    let (file, temporary) = temporary.map_err(|error| local_error(directory, error))?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let (mut hash, mut done) = (Context::new(&SHA256), 0);
    while done < size {
        let mut data = dialogue.data().await.map_err(Error::not_applied)?;
        let surplus = data.split_off(data.len().min(usize::try_from(size - done).unwrap_or(usize::MAX)));
        dialogue.put_back(surplus);
        hash.update(&data);
        file.write_all(&data).await.map_err(|error| local_error(local, error))?;
        done += data.len() as u64;
        progress.bytes(&what, done, Some(size));
    }
    let theirs = dialogue.line().await.map_err(Error::not_applied)?;
    let ours = hex(hash.finish());
    if theirs != ours {
        return Err(corrupted(&ours, &theirs));
    }
    dialogue.leave("").await.map_err(Error::not_applied)?;
    file.sync_all().await.map_err(|error| local_error(local, error))?;
    temporary.persist(local).map_err(|error| local_error(local, error.error))?;
    sync_directory(directory).await.map_err(|error| local_error(directory, error))
}

/// A talk with a script, by lines and by bytes.
struct Dialogue {
    process: Process,
    input: Option<Input>,
    /// What came from it and was not taken yet.
    stdout: bytes::BytesMut,
    stderr: Tail,
}

impl Dialogue {
    async fn start(session: &Session, script: &Script) -> Result<Self> {
        let mut process = session.start(script, Feed::Answers, Instant::now() + PATIENCE).await?;
        let input = process.input();
        let mut dialogue = Self { process, input, stdout: bytes::BytesMut::new(), stderr: Tail::new(KEPT_ERRORS) };
        let mut input = dialogue.input()?;
        let begin = async move {
            input.begin().await;
            Ok(input)
        };
        dialogue.input = Some(dialogue.meanwhile(begin).await?);
        Ok(dialogue)
    }

    fn input(&mut self) -> Result<Input> {
        self.input.take().ok_or_else(|| Error::new(ErrorKind::Unexpected, "the way to the process is in use"))
    }

    async fn send(&mut self, line: &'static str) -> Result<()> {
        let mut input = self.input()?;
        let send = async move {
            input.send(line).await;
            Ok(input)
        };
        self.input = Some(self.meanwhile(send).await?);
        Ok(())
    }

    /// The next line of its output.
    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.stdout.iter().position(|byte| *byte == b'\n') {
                let line = self.stdout.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let data = self.more().await?;
            self.stdout.extend_from_slice(&data);
        }
    }

    /// The next bytes of its output.
    async fn data(&mut self) -> Result<Bytes> {
        if self.stdout.is_empty() { self.more().await } else { Ok(self.stdout.split().freeze()) }
    }

    fn put_back(&mut self, data: Bytes) {
        self.stdout.extend_from_slice(&data);
    }

    async fn more(&mut self) -> Result<Bytes> {
        loop {
            match self.event().await? {
                Event::Stdout(data) => return Ok(data),
                Event::Stderr(data) => self.stderr.push(&data),
                Event::Ended(ended) => return Err(self.ended_early(ended)),
            }
        }
    }

    /// Does `work`, and stops when the process ends before.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                event = self.process.next() => match event.map_err(cut_off)? {
                    Event::Stdout(data) => self.stdout.extend_from_slice(&data),
                    Event::Stderr(data) => self.stderr.push(&data),
                    Event::Ended(ended) => return Err(self.ended_early(ended)),
                },
            }
        }
    }

    /// Says a last word, and waits for the end.
    async fn leave(mut self, word: &'static str) -> Result<()> {
        if !word.is_empty() {
            self.send(word).await?;
        }
        let close = self.input()?.close();
        tokio::pin!(close);
        let mut closed = false;
        loop {
            let event = tokio::select! {
                event = self.event() => event?,
                () = &mut close, if !closed => {
                    closed = true;
                    continue;
                }
            };
            match event {
                Event::Stdout(_) => {}
                Event::Stderr(data) => self.stderr.push(&data),
                Event::Ended(Ended { status: Some(0), .. }) => return Ok(()),
                Event::Ended(ended) => return Err(self.ended_early(ended)),
            }
        }
    }

    async fn event(&mut self) -> Result<Event> {
        match tokio::time::timeout(PATIENCE, self.process.next()).await {
            Ok(event) => event.map_err(cut_off),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("the server did nothing for {PATIENCE:?}"))),
        }
    }

    fn ended_early(&mut self, ended: Ended) -> Error {
        let stderr = std::mem::replace(&mut self.stderr, Tail::new(0)).take();
        let output = Output { status: ended.status, signal: ended.signal, stdout: Vec::new(), stderr };
        failed(&output)
    }
}

const KEPT_ERRORS: usize = 16 << 10;

async fn digest_of(path: &Path) -> Result<String> {
    let owned = path.to_owned();
    let compute = move || {
        let mut file = std::fs::File::open(owned)?;
        let (mut hash, mut chunk) = (Context::new(&SHA256), vec![0; CHUNK]);
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hex(hash.finish())),
                count => hash.update(&chunk[..count]),
            }
        }
    };
    let computed = tokio::task::spawn_blocking(compute).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    computed.map_err(|error| local_error(path, error))
}

async fn sync_directory(directory: &Path) -> std::io::Result<()> {
    tokio::fs::File::open(directory).await?.sync_all().await
}

fn local_error(path: &Path, error: std::io::Error) -> Error {
    Error::from(error).not_applied().with("local file", path.display())
}

fn changed_meanwhile(local: &Path) -> Error {
    Error::new(ErrorKind::Conflict, "the local file became shorter while it was sent")
        .not_applied()
        .with("local file", local.display())
}

fn corrupted(ours: &str, theirs: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "the checksums differ: the file changed meanwhile, or was damaged on its way")
        .not_applied()
        .retryable(true)
        .with("sha256 here", ours)
        .with("sha256 there", theirs)
}

fn unexpected(line: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the server said {line:?}, which is no part of a transfer"))
}
