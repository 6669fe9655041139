//! The last lines of a log file, read from its end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use bluegreen_core::{Error, Result};

/// How much of a log is searched for the lines that are asked for: enough for any report, and bounded however the
/// service writes.
const MOST_BYTES: u64 = 4 << 20;

/// The last `count` lines that were written at or after the byte `start`, oldest first. A file that is not there has
/// none. What is not UTF-8 is replaced.
pub(super) fn tail(path: &Path, start: u64, count: usize) -> Result<Vec<String>> {
    let lines = || -> std::io::Result<Vec<String>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let end = file.metadata()?.len();
        // A file shorter than it was has been rotated by copying and truncating.
        let start = if start <= end { start } else { 0 };
        let from = start.max(end.saturating_sub(MOST_BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(end - from).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        Ok(all[all.len().saturating_sub(count)..].iter().map(ToString::to_string).collect())
    };
    lines()
        .map_err(|error| Error::from(error).not_applied().with_operation("read the log").with("path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_this_start_come_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert_eq!(tail(&path, 0, 5).unwrap(), Vec::<String>::new());
        std::fs::write(&path, "old\none\ntwo\nthree").unwrap();
        assert_eq!(tail(&path, 0, 2).unwrap(), ["two", "three"]);
        assert_eq!(tail(&path, 4, 9).unwrap(), ["one", "two", "three"]);
        assert_eq!(tail(&path, 4, 0).unwrap(), Vec::<String>::new());
        assert_eq!(tail(&path, 400, 1).unwrap(), ["three"]);
    }

    #[test]
    fn a_long_log_and_one_that_is_not_text_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut bytes = b"line\n".repeat(2_000_000);
        bytes.extend_from_slice(b"\xff\xfe end\n");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(tail(&path, 0, 2).unwrap(), ["line", "\u{fffd}\u{fffd} end"]);
    }
}
