//! Blue-green deploys on one machine, with nothing else installed: each slot is a child process, and an embedded reverse
//! proxy divides the traffic between them.
//!
//! - [`ProcessRuntime`] starts and stops the two slots as processes that outlive the deployer.
//! - [`Proxy`] is the reverse proxy: in a process of yours, or as a process of its own.
//! - [`ProxyRouter`] controls it, from within its process or through its control socket.
//!
//! ```
//! use bluegreen_core::{Endpoint, Instance, Router, Slot, Split};
//! use bluegreen_local::Proxy;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // The service, as small as can be: it answers every request with "hello".
//! let service = TcpListener::bind("127.0.0.1:0").await?;
//! let address = service.local_addr()?.to_string();
//! tokio::spawn(async move {
//!     while let Ok((mut client, _)) = service.accept().await {
//!         let _ = client.read(&mut [0; 1024]).await;
//!         let _ = client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").await;
//!     }
//! });
//!
//! // The proxy, on a port that the system chooses.
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let public = listener.local_addr()?;
//! let proxy = Proxy::builder().slot_header("x-slot").build()?;
//! let router = proxy.router();
//! tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
//!
//! // What the pipeline does: say where a slot listens, then move the traffic there.
//! let instance = Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] };
//! router.attach(Slot::Blue, &instance).await?;
//! router.shift(None, Split::all(Slot::Blue)).await?;
//!
//! let mut client = TcpStream::connect(public).await?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("x-slot: blue") && answer.ends_with("hello"));
//! assert_eq!(router.in_flight(Slot::Blue).await?, Some(0));
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```
//!
//! A deploy tool combines these in a `bluegreen_core` pipeline. So that traffic continues when the tool dies, run the proxy as
//! a process of its own with [`Proxy::run`], and control it with [`ProxyRouter::new`]. Linux only.

mod process;
mod proxy;

pub use process::{ProcessRuntime, ProcessRuntimeBuilder};
pub use proxy::{
    DEFAULT_ANSWER_TIMEOUT, DEFAULT_BODY_TIMEOUT, DEFAULT_CLIENT_TIMEOUT, DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_HALF_CLOSE_TIMEOUT, DEFAULT_HEADER_LIMIT, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_SEND_TIMEOUT,
    DEFAULT_SHUTDOWN_GRACE, Proxy, ProxyBuilder, ProxyRouter, TCP_KEEPALIVE,
};
