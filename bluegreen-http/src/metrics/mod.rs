//! Where gates get their counters from: [`PrometheusPage`], [`PromQl`], [`NewRelic`], [`Datadog`] and [`ActiveProbe`].

mod active_probe;
mod count;
mod cursor;
mod datadog;
mod exposition;
mod growth;
mod new_relic;
mod prometheus_page;
mod promql;
mod query;
mod selector;
mod since;

pub use active_probe::{ActiveProbe, ActiveProbeBuilder};
pub use datadog::{DEFAULT_DATADOG_URL, Datadog, DatadogBuilder};
pub use new_relic::{DEFAULT_NEW_RELIC_URL, NewRelic, NewRelicBuilder};
pub use prometheus_page::{PrometheusPage, PrometheusPageBuilder};
pub use promql::{PromQl, PromQlBuilder};
