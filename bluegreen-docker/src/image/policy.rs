//! [`PullPolicy`].

/// When an image is fetched; Compose's `pull_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    Missing,
    Never,
    /// It is built each time.
    Build,
}
