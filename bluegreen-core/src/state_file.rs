//! How a state document lies in a directory, wherever that is. [`FileStateStore`](crate::FileStateStore) and
//! [`HostStateStore`](crate::HostStateStore) share it, down to the lock, so both can work on the same directory at once.

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
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
    pub(crate) lock: String,
}

impl StateFile {
    pub(crate) fn new(directory: &str, service: &ServiceName) -> Self {
        let directory = directory.strip_suffix('/').unwrap_or(directory);
        let base = format!("{directory}/{service}");
        Self {
            service: service.clone(),
            document: format!("{base}.json"),
            backup: format!("{base}.json.bak"),
            lock: format!("{base}.lock"),
        }
    }

    /// The document as it was read. The error still lacks what [`unreadable`](Self::unreadable) adds.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Versioned<State>> {
        let value = State::from_bytes(bytes)?;
        if value.service != self.service {
            let message = format!("the document is about the service {}", value.service);
            return Err(Error::new(ErrorKind::Corrupt, message).not_applied());
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
        error.advice(match backup {
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
            .advice(format!(
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

    /// The lock is not given up.
    pub(crate) fn locked(&self, seconds: u64) -> Error {
        let message = format!("another process has held the lock for more than {seconds} s");
        Error::new(ErrorKind::Timeout, message).not_applied().with("lock", &self.lock).advice(format!(
            "a commit holds it for milliseconds, so that process must be stopped or hanging: `fuser -v {}` shows it",
            quote(&self.lock)
        ))
    }
}

/// Content names itself: the SHA-256 of the bytes, in hexadecimal.
pub(crate) fn revision(bytes: &[u8]) -> Revision {
    let digest = Sha256::digest(bytes);
    Revision::new(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
