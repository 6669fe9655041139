//! Where gates get their counters from: [`PrometheusPage`], [`PromQl`] and [`ActiveProbe`].

mod active_probe;
mod count;
mod cursor;
mod exposition;
mod growth;
mod prometheus_page;
mod promql;
mod query;
mod selector;

pub use active_probe::{ActiveProbe, ActiveProbeBuilder};
pub use prometheus_page::{PrometheusPage, PrometheusPageBuilder};
pub use promql::{PromQl, PromQlBuilder};
