//! The HTTP client of the adapters: HTTP/1.1 over hyper, and HTTPS over rustls with the system's certificates.
//!
//! It follows no redirects, repeats no request, and decodes gzip and deflate. It exists so that no Cargo feature of an adapter
//! can change the HTTP client of the program that embeds it. Cargo adds up the features of one crate over a whole program, and
//! a program whose `reqwest` has no TLS would panic if an adapter enabled TLS in it without a provider.
//!
//! # TLS
//!
//! The client uses the provider that the program has installed (`CryptoProvider::install_default`). Without one it uses ring,
//! for these clients alone: nothing is installed for the process.
//!
//! rustls has a feature per provider. `ClientConfig::builder()` and `ServerConfig::builder()` panic if two are enabled and none
//! is installed. If your program uses them with another provider, turn the feature `ring` off (`default-features = false` for
//! each adapter), and install your provider before you use HTTPS here.
//!
//! # Use
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bluegreen_http_client::{Client, Method, Url};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
//! let url = Url::parse("https://shop.example.com/health")?;
//! let response = client.send(client.request(Method::GET, &url)?).await?;
//! let page = response.body(1 << 20).await?;
//! println!("{}", String::from_utf8_lossy(&page.bytes));
//! # Ok(()) }
//! ```

mod body;
mod builder;
mod client;
mod connector;
mod encoding;
mod error;
mod local;
mod response;
mod stream;
mod tls;

pub use body::Body;
pub use builder::ClientBuilder;
pub use bytes::Bytes;
pub use client::{Client, Request};
pub use encoding::decoded;
pub use error::Error;
pub use http::{Method, StatusCode, header};
pub use local::is_this_machine;
pub use response::Response;
pub use url::Url;
