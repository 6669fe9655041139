//! The directory that an image is built from, streamed to the engine as an archive.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bluegreen_core::{Error, Progress, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::ignore::Ignore;

/// The engine takes what it gets at its own pace; so many chunks may wait for it.
const AHEAD: usize = 8;
const CHUNK: usize = 64 << 10;

pub(super) struct Context {
    pub(super) chunks: BoxStream<'static, io::Result<Bytes>>,
    /// How many bytes of it are through.
    pub(super) sent: Arc<AtomicU64>,
    pub(super) failure: Failure,
}

/// Why the archive ended too early.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Begins to read the directory.
pub(super) async fn open(directory: &Path, dockerfile: &str, progress: &Progress) -> Result<Context> {
    let (root, name) = (directory.to_owned(), dockerfile.to_owned());
    let ignore = tokio::task::spawn_blocking(move || look(&root, &name)).await;
    let ignore = ignore.map_err(|error| Error::config("the directory cannot be read").with_source(error))??;
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let failure = Failure::default();
    let (root, progress, reason) = (directory.to_owned(), progress.clone(), failure.clone());
    let done = Arc::new(AtomicU64::new(0));
    let sent = Arc::clone(&done);
    tokio::task::spawn_blocking(move || {
        let mut writer = ChannelWriter { chunks: sender, buffer: Vec::with_capacity(CHUNK), done, progress };
        if let Err(error) = archive(&root, &ignore, &mut writer) {
            // When the engine no longer listens, it says why itself.
            if error.kind() != io::ErrorKind::BrokenPipe {
                reason.set(Error::from(error).not_applied().with_operation("read the directory"));
                let _ = writer.chunks.blocking_send(Err(io::Error::other("the directory cannot be read")));
            }
        }
    });
    let chunks = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(Context { chunks: chunks.boxed(), sent, failure })
}

/// Finds what is wrong before anything is sent.
fn look(root: &Path, dockerfile: &str) -> Result<Ignore> {
    if !root.is_dir() {
        return Err(Error::config("there is no such directory"));
    }
    let inside = Path::new(dockerfile).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside || dockerfile.is_empty() {
        return Err(Error::config(format!("{dockerfile:?} is not a path inside the directory")));
    }
    if !root.join(dockerfile).is_file() {
        return Err(Error::config(format!("there is no {dockerfile} in the directory")));
    }
    // One that belongs to a single Dockerfile comes before the common one.
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        match std::fs::read_to_string(root.join(&name)) {
            Ok(text) => return Ignore::parse(&text, &[dockerfile, &name]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::from(error).not_applied().with("path", root.join(&name).display())),
        }
    }
    Ignore::parse("", &[])
}

fn archive(root: &Path, ignore: &Ignore, writer: &mut ChannelWriter) -> io::Result<()> {
    let mut archive = tar::Builder::new(&mut *writer);
    archive.follow_symlinks(false);
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let mut entries = std::fs::read_dir(root.join(&directory))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = directory.join(entry.file_name());
            let kind = entry.file_type()?;
            let name = path.to_string_lossy();
            let ignored = ignore.covers(&name);
            if kind.is_dir() && (!ignored || ignore.may_except_inside(&name)) {
                directories.push(path.clone());
            }
            if !ignored && (kind.is_dir() || kind.is_file() || kind.is_symlink()) {
                append(&mut archive, root, &path)?;
            }
        }
    }
    archive.finish()?;
    drop(archive);
    writer.flush()
}

fn append(archive: &mut tar::Builder<&mut ChannelWriter>, root: &Path, path: &Path) -> io::Result<()> {
    let full = root.join(path);
    let metadata = std::fs::symlink_metadata(&full)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    // Whoever builds, the files belong to root, as with the `docker` command.
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_size(0);
        return archive.append_link(&mut header, path, std::fs::read_link(&full)?);
    }
    if metadata.is_dir() {
        header.set_size(0);
        return archive.append_data(&mut header, path, io::empty());
    }
    let file = std::fs::File::open(&full)?;
    // A file that grows meanwhile must not spoil the archive; one that shrinks is an error.
    archive.append_data(&mut header, path, io::Read::take(file, metadata.len()))
}

struct ChannelWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    done: Arc<AtomicU64>,
    progress: Progress,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let length = chunk.len() as u64;
        let sent = self.chunks.blocking_send(Ok(Bytes::from(chunk)));
        let done = self.done.fetch_add(length, Ordering::Relaxed) + length;
        self.progress.bytes("build context", done, None);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
