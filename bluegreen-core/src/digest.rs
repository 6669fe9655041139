//! Digests as text.

use sha2::{Digest, Sha256};

/// The bytes in hexadecimal, in lower case.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of the bytes in hexadecimal, as `sha256sum` prints it.
///
/// ```
/// assert!(bluegreen_core::sha256_hex("").starts_with("e3b0c442"));
/// ```
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}
