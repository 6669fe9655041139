//! [`Body`]: what came after a head.

/// A body, or the start of one.
#[derive(Debug, Clone)]
pub struct Body {
    /// As the server meant it: decoded where it came encoded.
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
}
