use zeroize::Zeroizing;

/// A value that must not be seen: a token, a password, a cookie.
///
/// It has no `Display` and no `Serialize`, and its `Debug` prints nothing of it, so it cannot slip into a log, an
/// error, an event or the state. The memory is wiped when it is dropped. Reading it is the explicit
/// [`reveal`](Self::reveal), which is easy to find in a review.
///
/// ```
/// use bluegreen_core::Secret;
///
/// let token = Secret::new("s3cr3t");
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// assert_eq!(token.reveal(), "s3cr3t");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Reads a secret from an environment variable of this process.
    ///
    /// # Errors
    /// `Config` when it is not set, empty, or not UTF-8; the value is never part of the error.
    pub fn from_env(name: &str) -> crate::Result<Self> {
        match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(Self::new(value)),
            _ => Err(crate::Error::config(format!("the environment variable {name} is not set, or not text"))),
        }
    }

    /// The value. Hand it on to where it is needed, and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
