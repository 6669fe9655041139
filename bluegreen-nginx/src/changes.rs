//! What others have put into the files that are written here.

use bluegreen_core::host::Script;
use bluegreen_core::{Error, Result, changed_file};
use similar::{ChangeTag, TextDiff};

use crate::install;
use crate::server::Server;
use crate::site::{id_of, is_as_rendered};

const PURPOSE: &str = "test the nginx site";

/// Whether the file at `path`, which holds `text`, says what somebody else wrote into it, so that it must not be lost. A text
/// that says nothing must not, nor one that is damaged so that nginx cannot load it. `link` is how nginx reads the file, where
/// it does by a link.
pub(crate) async fn is_changed(server: &Server, path: &str, text: Option<&str>, link: &str) -> Result<bool> {
    if server.config.overwrite_changes || !text.is_some_and(differs) {
        return Ok(false);
    }
    let state = server.config.state_directory_path();
    let script = Script::new(PURPOSE, include_str!("scripts/test_site.sh")).args([&*state, path, link]);
    Ok(server.run(script.read_only().detached()).await?.word() != "broken")
}

/// Refuses to lose what somebody else wrote. `ours` is what would be in the file otherwise.
///
/// # Errors
/// `Conflict` for `Reason::ChangedElsewhere`, with the lines that differ.
pub(crate) async fn refuse(server: &Server, path: &str, text: Option<&str>, ours: &str, link: &str) -> Result<()> {
    match is_changed(server, path, text, link).await? {
        true => Err(conflict(server, path, text, ours).await?),
        false => Ok(()),
    }
}

/// Whether nginx runs this text, so that it can stay as it is where it says all that has to be said.
pub(crate) async fn is_loaded(server: &Server, path: &str, text: Option<&str>) -> Result<bool> {
    match text.and_then(id_of) {
        Some(id) => install::is_loaded(server, path, id).await,
        None => Ok(false),
    }
}

/// Whether the text says something, and something else than what was rendered.
fn differs(text: &str) -> bool {
    let says_nothing = text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'));
    !says_nothing && !is_as_rendered(text)
}

/// The error about a text that is not ours any more.
pub(crate) async fn conflict(server: &Server, path: &str, text: Option<&str>, ours: &str) -> Result<Error> {
    let written = server.text(&server.config.kept_path(path, "written")).await?;
    let lines = differing(written.as_deref().unwrap_or(ours), text.unwrap_or_default());
    Ok(changed_file("site", path, &*server.host, lines).with_hint(
        "to keep the change, put it into a file of your own that the site includes (`include`), or say that the site's files \
         are yours (`own_files`); to lose it, set `overwrite_changes`",
    ))
}

/// The lines that were added and removed.
fn differing(ours: &str, text: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(ours, text);
    let lines = diff.iter_all_changes().filter_map(|change| match change.tag() {
        ChangeTag::Equal => None,
        tag => Some(format!("{tag}{}", change.value().trim())),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_differ_are_told_and_no_others() {
        let ours = "server {\n    listen 80;\n}\n";
        let theirs = "server {\n    listen 80;\n    listen 443 ssl; # managed by Certbot\n}\n";
        assert_eq!(differing(ours, theirs), ["+listen 443 ssl; # managed by Certbot"]);
        assert_eq!(differing(theirs, ours), ["-listen 443 ssl; # managed by Certbot"]);
    }

    #[test]
    fn a_text_that_says_nothing_is_nobodys_change() {
        for nothing in ["", "\n \n", "# slots: {", "# one\n\n  # two\n"] {
            assert!(!differs(nothing), "{nothing:?}");
        }
        assert!(differs("server {}"));
    }
}
