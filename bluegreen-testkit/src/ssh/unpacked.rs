//! Servers that are no packages of this machine.

use std::path::{Path, PathBuf};

use bluegreen_core::testing::part_is_here;

/// The interpreter of the environment that holds the servers in Python.
pub(super) fn python() -> PathBuf {
    unpacked("bin/python")
}

/// A file of the next Debian.
pub(super) fn newer(path: &str) -> PathBuf {
    unpacked("trixie").join(path)
}

pub(super) fn newer_is_here(part: &str, program: &Path) -> bool {
    part_is_here(part, program.exists(), "run `.ci/install-newer-ssh-servers target/ssh-servers/trixie`")
}

fn unpacked(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ssh-servers").join(path)
}
