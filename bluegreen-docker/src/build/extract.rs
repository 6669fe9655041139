//! Files out of an image, in constant memory: what the engine sends is unpacked as it comes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bluegreen_core::{Error, ErrorKind, Progress, Result};
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::temp_container::{TempContainer, remove_abandoned};
use crate::engine::{Answer, Engine, READING};

/// How many chunks may wait to be unpacked; the engine sends 32 KiB at a time.
const AHEAD: usize = 16;

pub(super) async fn extract(engine: &Engine, image: &str, from: &str, to: &Path, progress: &Progress) -> Result<()> {
    if !from.starts_with('/') {
        return Err(Error::config(format!("{from:?} is not an absolute path")));
    }
    let docker = engine.docker().await?;
    if let Err(error) = remove_abandoned(docker).await {
        tracing::warn!(error = %error.chain(), "abandoned copies are not removed");
    }
    let temp_container = TempContainer::new(docker, image).await?;
    let copied = copy(docker, &temp_container.id, from, to, progress).await;
    let removed = temp_container.end().await;
    copied.and(removed)
}

async fn copy(docker: &bollard::Docker, id: &str, from: &str, to: &Path, progress: &Progress) -> Result<()> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (to, name) = (to.to_owned(), from.to_owned());
    let unpacking = tokio::task::spawn_blocking(move || unpack(receiver, &name, &to));
    let options = DownloadFromContainerOptionsBuilder::default().path(from).build();
    let mut chunks = Answer::new(docker.download_from_container(id, Some(options)), READING);
    let (mut failure, mut done) = (None, 0);
    loop {
        match chunks.next().await {
            Ok(None) => break,
            Ok(Some(bytes)) => {
                done += bytes.len() as u64;
                chunks.heard(&format!("{done} bytes"));
                progress.bytes(from, done, None);
                if sender.send(Sent::Chunk(bytes)).await.is_err() {
                    // The unpacking failed, and says why.
                    break;
                }
            }
            Err(error) => {
                failure = Some(error.not_applied());
                break;
            }
        }
    }
    if failure.is_none() {
        // An error says that the unpacking failed, and it says why.
        let _ = sender.send(Sent::End).await;
    }
    drop(sender);
    let unpacked = match unpacking.await {
        Ok(unpacked) => unpacked,
        Err(error) => Err(Error::new(ErrorKind::Unexpected, "the unpacking was cut off").with_source(error)),
    };
    match failure {
        // What came until then was no whole archive, which is a consequence.
        Some(failure) => Err(failure),
        None => unpacked,
    }
}

/// What the engine sends. Without the end, what came is a part, even where it looks like a whole archive.
enum Sent {
    Chunk(Bytes),
    End,
}

struct ChannelReader {
    sent: mpsc::Receiver<Sent>,
    current: Bytes,
    is_whole: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.sent.blocking_recv() {
                Some(Sent::Chunk(chunk)) => self.current = chunk,
                Some(Sent::End) => self.is_whole = true,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Unpacks beside the destination, and puts it in place when it is whole.
fn unpack(sent: mpsc::Receiver<Sent>, from: &str, to: &Path) -> Result<()> {
    let at = |error: io::Error| Error::from(error).not_applied().with("path", to.display());
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = tempfile::Builder::new().prefix(".extract-").tempdir_in(parent).map_err(at)?;
    let mut archive = tar::Archive::new(ChannelReader { sent, current: Bytes::new(), is_whole: false });
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    let mut top = None::<PathBuf>;
    for entry in archive.entries().map_err(at)? {
        let mut entry = entry.map_err(at)?;
        let path = entry.path().map_err(at)?.into_owned();
        if top.is_none() {
            if entry.header().entry_type().is_symlink() {
                let target = entry.link_name().ok().flatten().unwrap_or_default().display().to_string();
                return Err(Error::config(format!("{from} is a link to {target}")).with_hint("name what it points to"));
            }
            top = path.components().next().map(|first| PathBuf::from(first.as_os_str()));
        }
        // Never outside of the folder, whatever the archive says.
        entry.unpack_in(folder.path()).map_err(at)?;
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(at)?;
    if !rest.is_whole {
        return Err(Error::new(ErrorKind::Cancelled, "cut off before all was there").not_applied());
    }
    let missing = || Error::new(ErrorKind::Unexpected, "the engine sent an empty archive").not_applied();
    let whole = folder.path().join(top.ok_or_else(missing)?);
    if whole.is_file() {
        std::fs::File::open(&whole).and_then(|file| file.sync_all()).map_err(at)?;
    }
    put_in_place(&whole, to).map_err(at)?;
    std::fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(at)
}

/// A rename replaces a file, but no directory that holds anything: that one changes places, and goes with the folder.
fn put_in_place(whole: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match std::fs::symlink_metadata(to) {
        Ok(found) if found.is_dir() || whole.is_dir() => {
            renameat_with(CWD, whole, CWD, to, RenameFlags::EXCHANGE)?;
            Ok(())
        }
        _ => std::fs::rename(whole, to),
    }
}
