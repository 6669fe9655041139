//! Text files that other programs write.

use std::io;
use std::path::Path;

/// The text of a small file. Comments in it may be in another encoding than UTF-8, and do not matter.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
