//! Where a slot can be reached: a port of a compose service.

/// An endpoint of a slot, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointPort {
    /// What health checks and routers call it.
    pub(crate) name: String,
    /// The service of the compose file.
    pub(crate) service: String,
    /// The TCP port inside the container.
    pub(crate) port: u16,
}
