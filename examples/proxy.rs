//! The embedded proxy as a process of its own. It goes on when a deployer ends or dies.
//!
//! ```text
//! mkdir -p state
//! cargo run --example proxy   # and, in a second terminal, the example `shop`
//! ```

use bluegreen::local::Proxy;

#[tokio::main]
async fn main() -> bluegreen::Result<()> {
    let address = std::env::var("SHOP_ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    Proxy::builder()
        .listen(address.parse().map_err(|_| bluegreen::Error::config("SHOP_ADDRESS is not an address with a port"))?)
        .control_socket("state/proxy.socket") // The deploy tool steers it here.
        .state_file("state/proxy.json") // The split survives a restart of the proxy.
        .release_headers(true) // Each answer names the release that gave it.
        .build()?
        .run(async { drop(tokio::signal::ctrl_c().await) })
        .await
}
