use std::path::Path;
use std::process::Command;

use crate::process::run;

/// Makes a pair of keys without a passphrase.
pub fn keygen(file: &Path) {
    keygen_with(file, &["-t", "ed25519", "-N", ""]);
}

/// Makes a pair of keys of this kind.
pub fn keygen_with(file: &Path, args: &[&str]) {
    run(Command::new("ssh-keygen").args(["-q", "-C", "test key"]).args(args).arg("-f").arg(file));
}
