//! The proxy as a process of its own, in front of one service that runs already:
//!
//! ```text
//! cargo run --release -p bluegreen-local --example proxy -- 127.0.0.1:8080 127.0.0.1:4001
//! ```
//!
//! `benches/compare-proxies` measures it beside others.

use std::net::SocketAddr;

use bluegreen_core::{Endpoint, Error, Instance, Result, Router, Slot, Split};
use bluegreen_local::Proxy;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(service)) = (arguments.next(), arguments.next()) else {
        return Err(Error::config("give two addresses: the one to listen on, and that of the service"));
    };
    let listen: SocketAddr =
        listen.parse().map_err(|error| Error::config(format!("{listen:?} is not an address")).with_source(error))?;
    let proxy = Proxy::builder().listen(listen).build()?;
    let router = proxy.router();
    let instance = Instance::Running { version: None, endpoints: vec![Endpoint::http(service)] };
    router.attach(Slot::Blue, &instance).await?;
    router.shift(None, Split::all(Slot::Blue)).await?;
    proxy.run(async { drop(tokio::signal::ctrl_c().await) }).await
}
