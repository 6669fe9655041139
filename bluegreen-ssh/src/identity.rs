//! [`Identity`]: something to authenticate with.

use std::path::PathBuf;

use bluegreen_core::Secret;

/// Something to authenticate with. A `Debug` of it shows no secret.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// A private key in a file, with its `-cert.pub` where there is one.
    File { path: PathBuf, passphrase: Option<Secret> },
    /// A private key as text.
    Key { text: Secret, passphrase: Option<Secret> },
    /// The keys of an agent: all of them, or the one whose public key is in a file (`path` or `path.pub`).
    Agent { socket: Option<PathBuf>, only: Option<PathBuf> },
}

/// What OpenSSH tries unless told otherwise: the agent, then the keys under their usual names.
pub(crate) fn default_identities() -> Vec<Identity> {
    let mut identities = vec![Identity::Agent { socket: None, only: None }];
    if let Some(home) = std::env::home_dir() {
        let paths = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| home.join(".ssh").join(name));
        let present = paths.into_iter().filter(|path| path.exists());
        identities.extend(present.map(|path| Identity::File { path, passphrase: None }));
    }
    identities
}
