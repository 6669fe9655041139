//! What a person should know before the next attach.

use bluegreen_core::{Error, Preview, Result, Slot};

use crate::changes;
use crate::server::Server;

/// A file, the text that would be in it, and the link by which nginx reads it.
pub(crate) struct Watched {
    pub(crate) path: String,
    pub(crate) text: Option<String>,
    pub(crate) ours: String,
    pub(crate) link: String,
}

/// The warnings of the last reload, and what others have put into the files that the next attach need not write.
///
/// # Errors
/// `Conflict` for a file that it has to write.
pub(crate) async fn preview(server: &Server, warnings: Vec<String>, files: &[Watched]) -> Result<Preview> {
    let mut preview = warnings.into_iter().fold(Preview::default(), Preview::note);
    for Watched { path, text, ours, link } in files {
        match changes::refuse(server, path, text.as_deref(), ours, link).await {
            Err(error) if has_fixed_addresses(server, text.as_deref()) => preview = preview.note(note(&error)),
            other => other?,
        }
    }
    Ok(preview)
}

/// Whether the configuration says where the slots listen, and a site's text the same, so that no deploy changes it.
fn has_fixed_addresses(server: &Server, text: Option<&str>) -> bool {
    let (said, set) = (server.said(text), &server.config.slots);
    !server.config.release_headers
        && Slot::BOTH.into_iter().all(|slot| !set.of(slot).is_empty() && said.of(slot) == set.of(slot))
}

fn note(error: &Error) -> String {
    let value = |key| error.context(key).unwrap_or_default();
    format!("{} was changed by somebody else, and stays as it is: {}", value("site"), value("differing lines"))
}

/// What nginx warned of at the last reload, about the names of this service.
pub(crate) async fn warnings(server: &Server) -> Result<Vec<String>> {
    let config = &server.config;
    let said = server.text(&format!("{}/warnings", config.state_directory_path())).await?.unwrap_or_default();
    let ours = |line: &&str| config.server_names.iter().any(|name| line.contains(&format!("\"{name}\"")));
    Ok(said
        .lines()
        .filter_map(|line| line.strip_prefix("warn "))
        .filter(ours)
        .map(|line| format!("at the last reload, {line}"))
        .collect())
}
