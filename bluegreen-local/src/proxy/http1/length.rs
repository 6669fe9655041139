//! Where a message ends.

/// How a receiver knows where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Length {
    Exactly(u64),
    Chunked,
    /// When the connection ends.
    UntilEnd,
}
