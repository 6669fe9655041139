//! What a site's file held before an operation, for the undo of that operation.

use bluegreen_core::host::Script;
use bluegreen_core::{Error, ErrorKind, Instance, Reason, Result, Slot, sha256_hex};

use crate::install::{self, Change, Installed};
use crate::server::Server;

/// What an attach is made for. A second one of the same release does not forget what was there before the first.
pub(crate) fn key(slot: Slot, instance: &Instance) -> String {
    format!("{slot} {}", instance.version().map_or("-", |version| version.as_str()))
}

/// What is kept on the host about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    key: String,
    /// The digest of the text that was written in its place.
    written: String,
    /// The text of before; `None` where there was no file.
    text: Option<String>,
}

impl Kept {
    pub(crate) async fn read(server: &Server, path: &str) -> Result<Option<Self>> {
        let kept = server.text(&server.config.kept_path(path, "before")).await?;
        Ok(kept.as_deref().and_then(Self::parse))
    }

    fn parse(kept: &str) -> Option<Self> {
        let (head, text) = kept.split_once('\n')?;
        let (head, presence) = head.rsplit_once(' ')?;
        let (key, written) = head.rsplit_once(' ')?;
        let text = (presence == "present").then(|| text.to_owned());
        Some(Self { key: key.to_owned(), written: written.to_owned(), text })
    }

    fn is_of(&self, slot: Slot) -> bool {
        self.key.split(' ').next() == Some(slot.as_str())
    }
}

/// Notes that nothing was to be written for this: what is kept of another release is over, also of one in the other slot. It
/// would be taken for what was there before a later operation, whose process died before it attached anything.
pub(crate) async fn unchanged(server: &Server, path: &str, key: &str) -> Result<()> {
    let kept = Kept::read(server, path).await?;
    nothing_written(server, path, key, kept).await
}

/// As [`unchanged`], where it is known what is kept.
pub(crate) async fn nothing_written(server: &Server, path: &str, key: &str, kept: Option<Kept>) -> Result<()> {
    match kept {
        Some(kept) if kept.key != key => forget(server, path).await,
        _ => Ok(()),
    }
}

/// Puts back what the file held before the last attach of a slot. A file that is `in_use` is not removed.
///
/// # Errors
/// `Conflict` when the file was changed since.
pub(crate) async fn put_back(server: &Server, path: &str, slot: Slot, link: &str, in_use: bool) -> Result<()> {
    let Some(kept) = Kept::read(server, path).await?.filter(|kept| kept.is_of(slot)) else { return Ok(()) };
    let present = server.site(path).await?;
    let old = present.as_deref();
    if present != kept.text && !(in_use && kept.text.is_none()) {
        let is_written = old.is_some_and(|text| sha256_hex(text) == kept.written);
        let change = Change { path, old, new: kept.text.as_deref(), link, key: "" };
        if !is_written || install::install(server, change).await? == Installed::Overtaken {
            let error = Error::new(ErrorKind::Conflict, "the site was changed since, and stays as it is").not_applied();
            return Err(error.with_reason(Reason::ChangedElsewhere).with("site", path));
        }
    }
    forget(server, path).await
}

async fn forget(server: &Server, path: &str) -> Result<()> {
    let state = server.config.state_directory_path();
    let script = Script::new("end an undo", include_str!("scripts/forget_before.sh")).args([&state, path]);
    server.run(script).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_keeps_is_read_back() {
        let kept = |key: &str, written: &str, text: Option<&str>| {
            Some(Kept { key: key.into(), written: written.into(), text: text.map(Into::into) })
        };
        assert_eq!(
            Kept::parse("green 1.0 ab12 present\nserver {\n}\n"),
            kept("green 1.0", "ab12", Some("server {\n}\n"))
        );
        assert_eq!(Kept::parse("blue - ab12 absent\n"), kept("blue -", "ab12", None));
        assert_eq!(Kept::parse("blue"), None);
        let blue = Kept::parse("blue 1 ab present\n").unwrap();
        assert!(blue.is_of(Slot::Blue) && !blue.is_of(Slot::Green));
    }
}
