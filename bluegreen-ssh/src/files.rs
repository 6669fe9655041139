//! Small files and links on the server: one round trip each.

use bluegreen_core::{Error, ErrorKind, Output, Result};
use bytes::Bytes;

use crate::run;
use crate::script::Script;
use crate::session::Session;

/// The exit status of our scripts for a file that is not there.
pub(crate) const NO_SUCH_FILE: i32 = 44;

/// The exit status of our scripts when they had put something in place, and failed then.
const IN_PLACE: i32 = 45;

pub(crate) async fn read(session: &Session, path: &str) -> Result<Option<Vec<u8>>> {
    let path = RemotePath::new(path)?;
    let script = Script::inline(include_str!("scripts/read.sh"), &[path.whole()]);
    let output = run::inline(session, &script, Bytes::new()).await.map_err(Error::not_applied)?;
    match output.status {
        Some(0) => Ok(Some(output.stdout)),
        Some(NO_SUCH_FILE) => Ok(None),
        _ => Err(failed(&output).not_applied()),
    }
}

pub(crate) async fn write(session: &Session, path: &str, contents: &[u8], mode: u32) -> Result<()> {
    let path = RemotePath::new(path)?;
    let (mode, size) = (format!("{:o}", mode & 0o7777), contents.len().to_string());
    let args = [path.directory(), path.whole(), &mode, &size];
    let script = Script::inline(include_str!("scripts/write.sh"), &args);
    let output = run::inline(session, &script, Bytes::copy_from_slice(contents)).await?;
    if output.success() { Ok(()) } else { Err(failed(&output)) }
}

pub(crate) async fn symlink(session: &Session, target: &str, path: &str) -> Result<()> {
    let path = RemotePath::new(path)?;
    if target.contains('\0') || target.is_empty() {
        return Err(Error::config("a link needs a target without NUL"));
    }
    let script = Script::inline(include_str!("scripts/symlink.sh"), &[path.directory(), target, path.whole()]);
    let output = run::inline(session, &script, Bytes::new()).await?;
    if output.success() { Ok(()) } else { Err(failed(&output)) }
}

/// A path that no program takes for an option.
pub(crate) struct RemotePath {
    path: String,
}

impl RemotePath {
    pub(crate) fn new(path: &str) -> Result<Self> {
        if path.is_empty() || path.contains('\0') || path.ends_with('/') {
            return Err(Error::config(format!("{path:?} is not the path of a file")));
        }
        Ok(Self { path: if path.starts_with('/') { path.to_owned() } else { format!("./{path}") } })
    }

    pub(crate) fn whole(&self) -> &str {
        &self.path
    }

    pub(crate) fn directory(&self) -> &str {
        match self.path.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((directory, _)) => directory,
            None => ".",
        }
    }
}

/// What a script of ours says went wrong. Before they put something in place, they have changed nothing.
pub(crate) fn failed(output: &Output) -> Error {
    let said = output.error_text();
    // The texts of the C library; our scripts ask for them in English.
    let kind = if said.contains("No such file or directory") {
        ErrorKind::NotFound
    } else if said.contains("Permission denied") || said.contains("Operation not permitted") {
        ErrorKind::Unauthorized
    } else {
        ErrorKind::Unexpected
    };
    let error =
        Error::new(kind, if said.is_empty() { output.ending() } else { format!("{}: {said}", output.ending()) });
    match output.status {
        None | Some(IN_PLACE) => error,
        Some(_) => error.not_applied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_never_taken_for_an_option() {
        for (path, whole, directory) in
            [("/a/b", "/a/b", "/a"), ("/a", "/a", "/"), ("-rf", "./-rf", "."), ("a/b", "./a/b", "./a")]
        {
            let path = RemotePath::new(path).unwrap();
            assert_eq!((path.whole(), path.directory()), (whole, directory));
        }
        for bad in ["", "a/", "a\0b"] {
            assert!(RemotePath::new(bad).is_err());
        }
    }
}
