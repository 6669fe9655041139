use std::sync::Arc;

use super::balancer::Balancer;

/// A load balancer of one of the clouds: a [`DigitalOceanBalancer`](crate::DigitalOceanBalancer) or a
/// [`HetznerBalancer`](crate::HetznerBalancer).
#[derive(Debug, Clone)]
pub struct CloudBalancer(pub(crate) Arc<dyn Balancer>);
