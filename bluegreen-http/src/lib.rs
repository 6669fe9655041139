//! HTTP health checks, smoke tests and metric sources for blue-green deploys.
