//! [`Lingering`]: what becomes of the connections that the old server still has.

/// What becomes of the connections that are open on the old server when the address leaves it. They are lost either way:
/// drain first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lingering {
    /// They are reset, so that clients notice at once. Connections to the server's other addresses are left alone. A
    /// kernel without `CONFIG_INET_DIAG_DESTROY` cannot do that, and `ss` does not say so: what is left is counted
    /// afterwards, and a warning is logged. The address moves all the same.
    Reset,
    /// They are left: idle ones and uploads are reset at their next packet, downloads hang until the client gives up.
    Leave,
}
