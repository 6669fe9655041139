//! The service of the example `staged-migrations`: its version decides which tables it reads and writes.

use std::path::PathBuf;

use bluegreen_core::Version;
use bluegreen_examples::customers::service::serve;
use bluegreen_examples::customers::stage::Stage;
use bluegreen_examples::http_server::until_terminated;
use clap::Parser;

/// A service that keeps customers.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long, env = "PORT")]
    port: u16,
    /// The version it is.
    #[arg(long, env = "VERSION")]
    version_name: Version,
    /// The database file.
    #[arg(long)]
    database: PathBuf,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let stage = Stage::of(&arguments.version_name).map_err(std::io::Error::other)?;
    serve(stage, &arguments.database, ([127, 0, 0, 1], arguments.port).into(), until_terminated()?).await
}
