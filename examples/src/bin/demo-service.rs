//! The service that the examples deploy. It listens on the port in `PORT` and reports the version in `VERSION`, as the
//! process runtime sets them.

use std::time::Duration;

use bluegreen_examples::http_server::until_terminated;
use bluegreen_examples::service::{Settings, serve};
use clap::Parser;

/// A small HTTP service.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long, env = "PORT")]
    port: u16,
    /// The version it reports.
    #[arg(long, env = "VERSION")]
    version_name: String,
    /// Of 100 requests for the front page, how many fail with 500.
    #[arg(long, default_value_t = 0)]
    fail_percent: u64,
    /// Milliseconds until it listens.
    #[arg(long, default_value_t = 200)]
    start_millis: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings {
        listen: ([127, 0, 0, 1], arguments.port).into(),
        version: arguments.version_name,
        fail_percent: arguments.fail_percent,
        start_delay: Duration::from_millis(arguments.start_millis),
    };
    serve(settings, until_terminated()?).await
}
