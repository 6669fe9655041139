//! A change of the database that no version can live with at once, without a pause: four deploys, each of which can
//! live with the data of the one before and the one after, under clients that write and read all the while.
//!
//! ```text
//! cargo run --example staged-migrations
//! ```
//!
//! | version | reads | writes | what is done for it |
//! |---|---|---|---|
//! | 1.0 | `customers` | `customers` | |
//! | 2.0 | `customers` | both | expand: the new table `people`, empty |
//! | 3.0 | `people` | both | expand: what was there before is copied, in batches |
//! | 4.0 | `people` | `people` | contract, after the bake: `customers` is dropped |
//!
//! Until contract, each of them can give the traffic back to the one before. Afterwards, `rollback` refuses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::{Retention, Strategy};
use bluegreen_core::{Error, ErrorKind, FileStateStore, Phase, Pipeline, Release, Result, Runtime, Slot};
use bluegreen_examples::cli::exit_code;
use bluegreen_examples::customers::clients::{Clients, Seen, first_customers};
use bluegreen_examples::customers::migration::PeopleMigration;
use bluegreen_examples::customers::stage::Stage;
use bluegreen_examples::customers::table::Customers;
use bluegreen_examples::place::{Place, binary};
use bluegreen_http::HttpCheck;
use bluegreen_local::{ProcessRuntime, Proxy};
use clap::Parser;
use tokio::net::TcpListener;

/// How many customers there are before the story begins.
const CUSTOMERS: i64 = 2_000;

/// How long each state of things is left to the clients.
const A_WHILE: Duration = Duration::from_secs(1);

/// Changes a database that two slots share, under traffic.
#[derive(Parser)]
struct Arguments {
    /// Where database, state and logs are kept; a folder of this user's in the system's temporary directory unless given.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let place = Place::open("staged-migrations", arguments.dir)?;
    place.build_service("customers-service")?;
    let shop = Shop::open(&place).await?;
    let told = tokio::select! {
        told = shop.story() => told,
        _ = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Cancelled, "cancelled on request")),
    };
    shop.stop_services().await?;
    told
}

/// The service, its database, and how it is deployed.
struct Shop {
    public: SocketAddr,
    runtime: ProcessRuntime,
    pipeline: Pipeline,
    migration: PeopleMigration,
    database: PathBuf,
    display: Arc<ProgressDisplay>,
}

impl Shop {
    async fn open(place: &Place) -> Result<Self> {
        let database = place.root().join("data").join("shop.db");
        let runtime = ProcessRuntime::builder(place.services()).args(["--database", &database.display().to_string()]);
        let runtime = runtime.build()?;
        let migration = PeopleMigration::new(&database);

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let public = listener.local_addr()?;
        let proxy = Proxy::builder().build()?;
        let router = proxy.router();
        tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });

        let display = Arc::new(ProgressDisplay::stderr());
        let pipeline = Pipeline::builder("customers")
            .runtime(runtime.clone())
            .router(router)
            .migrator(migration.clone())
            .store(FileStateStore::new(place.state()))
            .health(HttpCheck::builder("/health").version_from_json("/version").build()?)
            .verify(HttpCheck::builder(format!("http://{public}/health")).version_from_json("/version").build()?)
            .strategy(Strategy::blue_green().bake(A_WHILE))
            .retention(Retention::UntilNextDeploy)
            .check_interval(Duration::from_millis(200))
            .observer(display.clone())
            .build()?;
        let shop = Self { public, runtime, pipeline, migration, database, display };
        // What an earlier run has left, if it was killed.
        shop.stop_services().await?;
        place.clear()?;
        if let Some(folder) = shop.database.parent() {
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir_all(folder)?;
        }
        Ok(shop)
    }

    async fn story(&self) -> Result<()> {
        self.migration.first_tables().await?;
        let database = Customers::open(&self.database, Stage::Old).map_err(unexpected)?;
        for (id, name) in first_customers(CUSTOMERS) {
            let (first_name, last_name) = name.split_once(' ').unwrap_or_default();
            database.keep(id, first_name, last_name).map_err(unexpected)?;
        }
        self.deploy(Stage::Old).await?;
        let clients = Clients::start(self.public, first_customers(CUSTOMERS));
        self.say(&format!("{CUSTOMERS} customers are there; clients write and read at http://{}/", self.public));
        let told = self.change_the_table().await;
        let seen = clients.stop(self.public).await;
        told?;
        summary(&seen)
    }

    async fn change_the_table(&self) -> Result<()> {
        for stage in [Stage::WritesBoth, Stage::ReadsNew, Stage::New] {
            self.deploy(stage).await?;
            self.rollback("back").await?;
            self.rollback("forth").await?;
        }
        println!("{}", self.pipeline.migrate(Phase::Contract).await?);
        match self.pipeline.rollback().await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                println!("rollback is refused from now on: {}", error.message());
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Err(unexpected("a rollback to a version whose table is gone")),
        }
    }

    /// Deploys a version, which runs its expand phase before it starts, and leaves it to the clients for a while.
    async fn deploy(&self, stage: Stage) -> Result<()> {
        let release = Release::new(stage.version())?.with_artifact(binary("customers-service")?);
        let report = self.pipeline.deploy(release).await?;
        tokio::time::sleep(A_WHILE).await;
        println!("{report}");
        Ok(())
    }

    /// Gives the traffic to the version before; done twice, everything is as it was.
    async fn rollback(&self, word: &str) -> Result<()> {
        let report = self.pipeline.rollback().await?;
        tokio::time::sleep(A_WHILE).await;
        let version = report.version.as_ref().map(ToString::to_string).unwrap_or_default();
        println!("{word} to {version}: {}\n", report.outcome.word());
        Ok(())
    }

    async fn stop_services(&self) -> Result<()> {
        for slot in Slot::BOTH {
            self.runtime.stop(slot, Duration::from_secs(5)).await?;
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        self.display.print(text);
    }
}

/// What the clients have seen; anything but the names that they wrote is an error.
fn summary(seen: &Seen) -> Result<()> {
    println!("{} names were written and {} read:", seen.written, seen.read);
    for (version, count) in &seen.answered {
        println!("  {count:>7} requests answered by {version}");
    }
    println!("  {:>7} requests failed, or read another name than the one that was written last", seen.trouble.len());
    println!("  {:>7} names are there at the end, each as it was written last", seen.names.len());
    match seen.trouble.first() {
        Some(first) => Err(unexpected(format!("the first trouble: {first}"))),
        None => Ok(()),
    }
}

fn unexpected(what: impl ToString) -> Error {
    Error::new(ErrorKind::Unexpected, what.to_string())
}
