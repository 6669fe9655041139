//! How a state document lies in a directory, wherever that is. [`FileStateStore`](crate::FileStateStore) and
//! [`HostStateStore`](crate::HostStateStore) share it, down to the lock, so both can work on the same directory at once.

use crate::digest::sha256_hex;
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::host::quote;
use crate::state::State;
use crate::store::{Revision, Versioned};
use crate::types::ServiceName;

/// The paths of one service's files. No two services share one: every document ends in `.json`, and nothing else does.
#[derive(Debug, Clone)]
pub(crate) struct StateFile {
    pub(crate) service: ServiceName,
    pub(crate) document: String,
    pub(crate) backup: String,
    /// Where a directory cannot be locked.
    pub(crate) lock: String,
    directory: String,
    /// Where a new document is written before it takes the place of the old one. Only under the lock, so that what a killed
    /// writer left is replaced by the next one.
    pub(crate) new: String,
}

impl StateFile {
    pub(crate) fn new(directory: &str, service: &ServiceName) -> Self {
        let directory = directory.strip_suffix('/').unwrap_or(directory);
        let base = format!("{directory}/{service}");
        Self {
            service: service.clone(),
            directory: directory.to_owned(),
            document: format!("{base}.json"),
            backup: format!("{base}.json.bak"),
            lock: format!("{base}.lock"),
            new: format!("{base}.json.new"),
        }
    }

    /// The document as it was read. The error still lacks what [`unreadable`](Self::unreadable) adds.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Versioned<State>> {
        let value = State::from_bytes(bytes)?;
        if value.service != self.service {
            let message = format!("the document belongs to the service {}, and not to {}", value.service, self.service);
            let error = Error::new(ErrorKind::Conflict, message).with_reason(Reason::OtherService).not_applied();
            return Err(error.with_hint("give each service a document of its own"));
        }
        Ok(Versioned { value, revision: revision(bytes) })
    }

    /// The bytes to store, which must be about this service.
    pub(crate) fn bytes(&self, state: &State) -> Result<Vec<u8>> {
        if state.service != self.service {
            let message = format!("a state of {} cannot be stored as that of {}", state.service, self.service);
            return Err(Error::config(message));
        }
        state.to_bytes().map_err(Error::not_applied)
    }

    /// Says what to do about a document that cannot be used, given the backup, if there is one.
    pub(crate) fn unreadable(&self, error: Error, backup: Option<&[u8]>) -> Error {
        let (document, copy) = (quote(&self.document), quote(&self.backup));
        let error = error.not_applied().with("file", &self.document).with("backup", &self.backup);
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        let begin_anew = "the next operation then records what it observes";
        error.with_hint(match backup {
            Some(bytes) if self.parse(bytes).is_ok() => {
                format!("the backup is whole, and one change older: put it back with `cp -p {copy} {document}`")
            }
            Some(_) => format!(
                "the backup cannot be read either: move both away with `mv {document} {document}.broken; mv {copy} \
                 {copy}.broken`, {begin_anew}"
            ),
            None => format!(
                "there is no backup yet: move the file away with `mv {document} {document}.broken`, {begin_anew}"
            ),
        })
    }

    /// The document is gone, and its backup tells that there was one.
    pub(crate) fn lost(&self) -> Error {
        let (document, copy) = (quote(&self.document), quote(&self.backup));
        Error::new(ErrorKind::Corrupt, "the state document is gone, and its backup is still there")
            .not_applied()
            .with("file", &self.document)
            .with("backup", &self.backup)
            .with_hint(format!(
                "put it back with `cp -p {copy} {document}`; or, to begin anew from what is observed, remove the backup \
                 too with `rm {copy}`"
            ))
    }

    /// Someone else wrote first.
    pub(crate) fn conflict(&self, expected: Option<&Revision>) -> Error {
        let message = match expected {
            Some(_) => "the state was changed by someone else since it was read",
            None => "there is a state document already",
        };
        Error::new(ErrorKind::Conflict, message).not_applied().with("file", &self.document)
    }

    /// The system denied a permission, where that is what is wrong.
    pub(crate) fn refused(&self, error: Error) -> Error {
        let denied =
            error.kind() == ErrorKind::Unauthorized || error.chain().to_lowercase().contains("permission denied");
        match denied {
            false => error,
            true => error.with("file", &self.document).with_hint(format!(
                "run the deployer as the user who owns the state, which `ls -l {}` shows, or give the files and their directory \
                 to this user; everybody who deploys this service must be able to write them",
                quote(&self.document)
            )),
        }
    }

    /// The file system cannot lock files.
    pub(crate) fn no_locks(&self, said: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("the file system cannot lock files: {said}")).with("lock", &self.lock).with_hint(
            "keep the state on a local file system, or start the network file system's lock daemon: without locks, two \
             deployers could both write",
        )
    }

    /// The lock is not given up.
    pub(crate) fn locked(&self, seconds: u64) -> Error {
        let message = format!("another process has held the lock for more than {seconds} s");
        Error::new(ErrorKind::Timeout, message).not_applied().with("directory", &self.directory).with_hint(format!(
            "a commit holds it for milliseconds, so that process must be suspended or hanging: `fuser -v {}` names it; end it by \
             `kill -9`, then run `recover`",
            quote(&self.directory)
        ))
    }
}

/// Content names itself: the SHA-256 of the bytes, in hexadecimal.
pub(crate) fn revision(bytes: &[u8]) -> Revision {
    Revision::new(sha256_hex(bytes))
}
