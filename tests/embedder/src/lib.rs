//! An in-house deploy tool: it embeds every crate of the workspace, and has an HTTP client of its own.

use std::time::Duration;

use bluegreen_core::{LocalHost, Result, Secret};
use bluegreen_floatingip::{DigitalOceanBalancer, FloatingIpRouter, HetznerIp, HttpProbe, LoadBalancerRouter};
use bluegreen_http::HttpCheck;
use bluegreen_nginx::{NginxConfig, NginxRouter};

/// Sets up one part of each crate that has an HTTP client, for HTTPS.
///
/// # Errors
/// When one of them cannot be set up.
pub fn set_up_ours() -> Result<()> {
    HttpCheck::get("https://shop.example.com/health")?;
    let router = NginxConfig::new("shop").server_name("shop.example.com").probe_url("https://shop.example.com");
    let router = router.slots((["127.0.0.1:4001"], ["127.0.0.1:4002"]));
    NginxRouter::new(LocalHost::new(), router)?;
    let token = || Secret::new("a-token");
    let probe = HttpProbe::new("https://shop.example.com/health", "x-slot")?;
    FloatingIpRouter::builder(HetznerIp::new(token(), 7, (1, 2))?).confirm_by(probe, 3).build();
    let balancer = DigitalOceanBalancer::new(token(), "4de7ac8b-495b-4884-9a69-1050c6793cd6")?;
    LoadBalancerRouter::builder(balancer).ports((3000, 3001)).build()?;
    Ok(())
}

/// The tool's own clients, each in the way that its author wrote it.
///
/// # Errors
/// When a client cannot be built.
pub fn own_clients() -> reqwest::Result<[reqwest::Client; 3]> {
    let built = reqwest::Client::builder().timeout(Duration::from_secs(5)).user_agent("our-tool").build()?;
    Ok([reqwest::Client::new(), built, reqwest::Client::default()])
}
