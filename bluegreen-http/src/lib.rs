//! HTTP health checks, smoke tests and metric sources for blue-green deploys.

mod client;
mod combine;
mod escape;
mod exchange;
mod headers;
mod http_check;
mod mask;
mod metrics;
mod pointer;
mod reach;
mod smoke;
mod statuses;

pub use combine::{All, Any, all, any};
pub use http_check::{HttpCheck, HttpCheckBuilder};
pub use metrics::{ActiveProbe, ActiveProbeBuilder, PromQl, PromQlBuilder, PrometheusPage, PrometheusPageBuilder};
pub use reach::{DEFAULT_BODY_LIMIT, DEFAULT_TIMEOUT};
pub use smoke::{Capture, SmokeTest, SmokeTestBuilder, Step};
pub use statuses::Statuses;
