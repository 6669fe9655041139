//! The routes on disk, so that they survive a restart of the proxy.

use std::path::Path;

use bluegreen_core::{Error, ErrorKind, Result, durable};
use serde::{Deserialize, Serialize};

use super::routes::Routes;

/// The format this version writes. A file of another one is refused, never guessed at.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    #[serde(flatten)]
    routes: Routes,
}

/// The stored routes; `None` when nothing was stored yet.
pub(super) fn load(path: &Path) -> Result<Option<Routes>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::from(error)
                .not_applied()
                .with_operation("read the proxy's state")
                .with("path", path.display()));
        }
    };
    let corrupt = |message: String| {
        Error::new(ErrorKind::Corrupt, message)
            .not_applied()
            .with_operation("read the proxy's state")
            .with("path", path.display())
            .with_hint(
                "repair the file; or remove it, start the proxy, and call `restore`, which attaches the live slot and gives it \
                 all traffic",
            )
    };
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|error| corrupt("the file cannot be read".to_owned()).with_source(error))?;
    if document.format != FORMAT {
        return Err(corrupt(format!("format {} is not known to this version", document.format)));
    }
    match document.routes.slot_without_address() {
        None => Ok(Some(document.routes)),
        Some(slot) => Err(corrupt(format!("traffic goes to {slot}, which has no address"))),
    }
}

/// Replaces the stored routes, durably.
pub(super) fn store(path: &Path, routes: &Routes) -> Result<()> {
    let document = Document { format: FORMAT, routes: routes.clone() };
    let bytes = serde_json::to_vec_pretty(&document).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the state cannot be written").not_applied().with_source(error)
    })?;
    durable::replace(path, &bytes, 0o600).map_err(|error| error.with_operation("store the proxy's state"))
}

#[cfg(test)]
mod tests {
    use bluegreen_core::{Slot, Split};

    use super::super::address::Address;
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_nothing_broken_is_taken_for_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxy.json");
        assert_eq!(load(&path).unwrap(), None);
        let routes = Routes::default()
            .attached(Slot::Blue, Address::new("127.0.0.1:1").unwrap(), None)
            .shifted(None, Split::all(Slot::Blue))
            .unwrap()
            .unwrap();
        store(&path, &routes).unwrap();
        assert_eq!(load(&path).unwrap(), Some(routes));

        let good = std::fs::read_to_string(&path).unwrap();
        let broken = [
            String::new(),
            "{}".to_owned(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("127.0.0.1:1", "not an address"),
            good.replace("\"127.0.0.1:1\"", "null"),
            good.replace("100", "90"),
        ];
        for bad in broken {
            assert_ne!(bad, good);
            std::fs::write(&path, &bad).unwrap();
            let error = load(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bad}");
            assert!(error.context("path").is_some());
        }
    }
}
