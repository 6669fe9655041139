//! HTTP health checks, smoke tests, metric sources and hooks for blue-green deploys.
//!
//! Each type implements one of the traits of [`bluegreen_core`]. Give it to a pipeline, or use it by itself:
//!
//! | type | trait | what it asks |
//! |---|---|---|
//! | [`HttpCheck`] | [`HealthCheck`](bluegreen_core::HealthCheck) | one page, of the slot or of the public address |
//! | [`all`], [`any`] | `HealthCheck` | several checks at the same time |
//! | [`SmokeTest`] | `HealthCheck` | a scenario of requests, from Rust or TOML |
//! | [`PrometheusPage`] | [`MetricSource`](bluegreen_core::MetricSource) | the instance's own `/metrics` |
//! | [`PromQl`] | `MetricSource` | a Prometheus server |
//! | [`NewRelic`], [`Datadog`] | `MetricSource` | their query APIs |
//! | [`ActiveProbe`] | `MetricSource` | the slot, by requests of its own |
//! | [`HttpHook`] | [`Hook`](bluegreen_core::Hook) | tells a chat or an API what a pipeline does |
//!
//! ```
//! use bluegreen_core::{Endpoint, Health, HealthCheck, Instance, OperationId, Release, ServiceName, Slot, Target};
//! use bluegreen_http::HttpCheck;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // A release that runs in the green slot, and says which version it is.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?.to_string();
//! tokio::spawn(async move {
//!     while let Ok((mut client, _)) = listener.accept().await {
//!         let _ = client.read(&mut [0; 1024]).await;
//!         let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"version\":\"1.4.0\"}").await;
//!     }
//! });
//! let instance = Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] };
//! let release = Release::new("1.4.0")?;
//! let target = Target::new(ServiceName::new("shop")?, Slot::Green, release, OperationId::new("deploy-7")?);
//!
//! // What a pipeline does with the check that it is given.
//! let check = HttpCheck::builder("/health").version_from_json("/version").build()?;
//! assert_eq!(check.check(&target, &instance).await?, Health::healthy_as("1.4.0".parse()?));
//!
//! let strict = HttpCheck::builder("/health").expect_json("/database", "up").build()?;
//! let Health::Unhealthy { reason } = strict.check(&target, &instance).await? else { panic!("it is not healthy") };
//! assert!(reason.ends_with("expected \"up\" at /database, which is missing, got 200 OK: `{\"version\":\"1.4.0\"}`"));
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```
//!
//! # Connections
//!
//! - Every request is sent once, over HTTP/1.1 and a connection of its own. A broken connection is not retried.
//! - Redirects are not followed.
//! - Instances that listen only on a server's loopback are reached with `through(host)`, which uses
//!   [`Host::tunnel`](bluegreen_core::Host::tunnel). They see the same `Host` header as for a request on the server.
//! - Endpoints are asked over plain HTTP and never through a proxy. For an absolute URL, the environment's `HTTP_PROXY`,
//!   `HTTPS_PROXY` and `NO_PROXY` hold, except for an address of this machine.
//! - A body in gzip or deflate is decoded, although no request asks for that. If a body is needed and has any other encoding,
//!   the error names the encoding, and shows none of its bytes.
//! - TLS is rustls with the certificates that the system trusts. The crypto provider is the one that the process has
//!   installed, else ring (the default feature `ring`); this crate installs none, and no feature of it reaches the
//!   program's own HTTP client: see [`bluegreen_http_client`].
//!
//! # Secrets
//!
//! Secret headers, secret variables and captured values are masked (`***`) in every reason and error, wherever an
//! answer repeats them: as they are, percent-encoded, or escaped as in JSON.

mod client;
mod combine;
mod escape;
mod exchange;
mod headers;
mod http_check;
mod http_hook;
mod mask;
mod metrics;
mod pointer;
mod reach;
mod smoke;
mod statuses;

pub use combine::{All, Any, all, any};
pub use http_check::{HttpCheck, HttpCheckBuilder};
pub use http_hook::{DEFAULT_HOOK_TIMEOUT, HttpHook, HttpHookBuilder};
pub use metrics::{
    ActiveProbe, ActiveProbeBuilder, DEFAULT_DATADOG_URL, DEFAULT_NEW_RELIC_URL, Datadog, DatadogBuilder, NewRelic,
    NewRelicBuilder, PromQl, PromQlBuilder, PrometheusPage, PrometheusPageBuilder,
};
pub use reach::{DEFAULT_BODY_LIMIT, DEFAULT_TIMEOUT};
pub use smoke::{Capture, SmokeTest, SmokeTestBuilder, Step};
pub use statuses::Statuses;
