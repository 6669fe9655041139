//! Where the endpoints of an instance are, as seen from HAProxy.

use std::net::SocketAddr;

use bluegreen_core::{Endpoint, Error, Instance, Result, host_port};

use crate::balancer::Balancer;

/// The addresses of the endpoints that HAProxy is to connect to; none where an instance reports none.
///
/// # Errors
/// `Config` for an address that HAProxy cannot be given while it runs.
pub(crate) fn addresses_of(balancer: &Balancer, instance: &Instance) -> Result<Vec<SocketAddr>> {
    let endpoints = instance.endpoints();
    let name = balancer.endpoint.as_deref().or(endpoints.first().map(|first| first.name.as_str()));
    let named: Vec<_> = endpoints.iter().filter(|endpoint| Some(endpoint.name.as_str()) == name).collect();
    if named.is_empty() && !endpoints.is_empty() {
        return Err(Error::config(format!("the instance has no endpoint {:?}", name.unwrap_or_default())));
    }
    named.into_iter().map(|endpoint| address_of(balancer, endpoint)).collect()
}

fn address_of(balancer: &Balancer, endpoint: &Endpoint) -> Result<SocketAddr> {
    let refused = |why: &str, hint: String| {
        Err(Error::config(format!("HAProxy cannot be given {:?}: {why}", endpoint.address)).with_hint(hint))
    };
    let Some((host, port)) = host_port(&endpoint.address) else {
        return refused("it is not host:port", "let the runtime report `ip:port`".to_owned());
    };
    let known = endpoint.host.as_ref().and_then(|host| balancer.hosts.get(host));
    let Some(ip) = known.copied().or_else(|| host.parse().ok()).or_else(|| balancer.hosts.get(host).copied()) else {
        let hint = format!("let the runtime report an IP address, or set `.host_address({host:?}, ip)`");
        return refused("it takes IP addresses only while it runs", hint);
    };
    match &endpoint.host {
        Some(on) if known.is_none() && ip.is_loopback() => {
            let hint = format!("set `.host_address({on:?}, ip)`, the address of {on} as seen from HAProxy");
            refused(&format!("it is an address of {on} itself"), hint)
        }
        _ => Ok(SocketAddr::new(ip, port)),
    }
}
