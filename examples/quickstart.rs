//! A real deploy on this machine, with nothing installed: versions of a small HTTP service behind the embedded proxy,
//! under steady traffic.
//!
//! ```text
//! cargo run --example quickstart                          # three deploys; the last one is bad and is rolled back
//! cargo run --example quickstart -- --crash-at shift-50   # the deployer is killed inside that step
//! cargo run --example quickstart -- --recover             # the next one finds out and puts things right
//! ```
//!
//! Proxy, services and clients are processes of their own: they go on when the deployer dies.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::gates::{BadRequests, RateGate};
use bluegreen_core::observer::{self, ProgressDisplay};
use bluegreen_core::pipeline::{PipelineBuilder, Report, Retention, Strategy, TrafficStep};
use bluegreen_core::state::Step;
use bluegreen_core::{Error, Event, FileStateStore, Pipeline, Result};
use bluegreen_examples::place::Place;
use bluegreen_examples::traffic::{self, Clients, Counts};
use bluegreen_http::{Capture, HttpCheck, PrometheusPage, SmokeTest, Step as Request};
use bluegreen_local::{ProcessRuntime, Proxy, ProxyRouter};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests per second: enough for a verdict within seconds, little for any machine.
const PER_SECOND: u32 = 600;

/// The clients stop by themselves after this, should nobody stop them.
const TRAFFIC_AT_MOST: Duration = Duration::from_secs(300);

/// The share of failed requests that the gate allows. One in a thousand is the library's default, for which it needs
/// 3,772 requests without an error; this is a demonstration, and wants its verdict within seconds.
const ERROR_LIMIT: f64 = 0.01;

/// Deploys three versions of a small HTTP service on this machine, under traffic.
#[derive(Parser)]
struct Arguments {
    /// Deploy 1.0, then kill the deployer with SIGKILL inside this step of the deploy of 2.0.
    #[arg(long, value_name = "STEP")]
    crash_at: Option<Step>,
    /// Take over from a deployer that was killed: find out what there is, and put it right.
    #[arg(long, conflicts_with = "crash_at")]
    recover: bool,
    /// Leave proxy and services running at the end; `--stop` ends them.
    #[arg(long)]
    keep: bool,
    /// Stop everything that an earlier run has left.
    #[arg(long)]
    stop: bool,
    /// Where state, logs and sockets are kept; a folder of this user's in the system's temporary directory unless given.
    #[arg(long, global = true, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand)]
enum Mode {
    /// Run the proxy (the example starts this by itself).
    #[command(hide = true)]
    Serve,
    /// Send traffic (the example starts this by itself).
    #[command(hide = true)]
    Traffic {
        /// The public address.
        to: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let place = Place::open("quickstart", arguments.dir)?;
    match (arguments.mode, arguments.crash_at) {
        (Some(Mode::Serve), _) => return serve(&place).await,
        (Some(Mode::Traffic { to }), _) => return send(&place, to).await,
        (None, Some(step)) => return crash(&place, step).await,
        (None, None) => {}
    }
    if arguments.stop {
        return stop_everything(&place).await;
    }
    let display = Arc::new(ProgressDisplay::stderr());
    let told = if arguments.recover { recover(&place, &display).await } else { story(&place, &display).await };
    let reports = match told {
        Ok(reports) => reports,
        Err(error) if arguments.keep || arguments.recover => return Err(error),
        Err(error) => {
            stop_everything(&place).await?;
            return Err(error);
        }
    };
    let counts = place.stop_traffic().await?;
    for report in &reports {
        println!("\n{report}");
    }
    summary(&counts);
    println!("state file: {}", place.state().join("shop.json").display());
    if arguments.keep {
        println!(
            "still running at http://{}/ (end it with `cargo run --example quickstart -- --stop`)",
            place.public()?
        );
        return Ok(());
    }
    stop_everything(&place).await
}

/// Three deploys: a first one, a good one, and a bad one that the gate catches.
async fn story(place: &Place, display: &Arc<ProgressDisplay>) -> Result<Vec<Report>> {
    let first = begin(place, display).await?;
    let watched = watched(place, display)?.build()?;
    let second = watched.deploy(place.release("2.0", 0)?).await?;

    display.print("3.0 is next: it starts healthy, and then fails 5 % of its requests");
    let third = match watched.deploy(place.release("3.0", 5)?).await {
        Err(error) if error.report().is_some_and(|report| report.outcome.word() == "rolled back") => error,
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::new(bluegreen_core::ErrorKind::Unexpected, "3.0 was not caught by the gate")),
    };
    Ok([first, second].into_iter().chain(third.report().cloned()).collect())
}

/// Starts the proxy, deploys 1.0 without anything to compare it with, and begins to send traffic.
async fn begin(place: &Place, display: &Arc<ProgressDisplay>) -> Result<Report> {
    stop_everything(place).await?;
    place.clear()?;
    place.build_service("demo-service")?;
    let public = place.start_proxy().await?;
    display.print(&format!("the proxy listens at http://{public}/"));
    let report = pipeline(place, display)?.build()?.deploy(place.release("1.0", 0)?).await?;
    place.start_traffic(public).await?;
    display.print(&format!("{PER_SECOND} requests per second are sent to it from now on"));
    Ok(report)
}

/// What every pipeline of this service has in common.
fn pipeline(place: &Place, display: &Arc<ProgressDisplay>) -> Result<PipelineBuilder> {
    let public = place.public()?;
    let health = HttpCheck::builder("/health").version_from_json("/version").build()?;
    let verify = HttpCheck::builder(format!("http://{public}/health")).version_from_json("/version").build()?;
    let smoke = SmokeTest::builder("an order can be placed and read")
        .step(Request::post("place it", "/orders").expect_status(201).capture("order", Capture::json("/order").shown()))
        .step(Request::get("read it", "/orders/{{order}}").expect_json("/state", "open"))
        .build()?;
    Ok(Pipeline::builder("shop")
        .runtime(runtime(place)?)
        .router(ProxyRouter::new(place.control_socket()))
        .store(FileStateStore::new(place.state()))
        .health(health)
        .smoke(smoke)
        .verify(verify)
        .retention(Retention::UntilNextDeploy)
        .check_interval(Duration::from_millis(200))
        .lease_ttl(Duration::from_secs(6))
        .cancel_on(asked_to_end(SignalKind::interrupt())?)
        .observer(display.clone()))
}

/// The pipeline for a release that can be compared with the one before: a canary under a gate.
fn watched(place: &Place, display: &Arc<ProgressDisplay>) -> Result<PipelineBuilder> {
    let errors = PrometheusPage::builder().by_label("http_requests_total", r#"status=~"5..""#).build()?;
    let gate = RateGate::builder(BadRequests::Failed, errors)
        .limit(ERROR_LIMIT)
        .warm_up(Duration::from_millis(500))
        .build()?;
    // Two seconds are plenty for a verdict at full speed; a machine that is busy otherwise may take its time.
    let (soak, longest) = (Duration::from_secs(2), Duration::from_secs(90));
    let steps = [
        TrafficStep::new(10, soak).max_soak(longest),
        TrafficStep::new(50, soak).max_soak(longest),
        TrafficStep::new(100, Duration::ZERO),
    ];
    Ok(pipeline(place, display)?
        .strategy(Strategy::canary(steps).bake(soak).max_bake(longest))
        .gate(gate)
        .gate_interval(Duration::from_millis(250)))
}

fn runtime(place: &Place) -> Result<ProcessRuntime> {
    ProcessRuntime::builder(place.services()).args(["--fail-percent", "{setting:fail-percent}"]).build()
}

/// Kills this process inside a step of the deploy of 2.0.
async fn crash(place: &Place, step: Step) -> Result<()> {
    let display = Arc::new(ProgressDisplay::stderr());
    begin(place, &display).await?;
    let teller = display.clone();
    let killer = observer::from_fn(move |event: &Event| {
        if event.step == Some(step) && matches!(event.what, EventKind::StepStarted { .. }) {
            teller.print(&format!(
                "step {step} is in the journal: this process now kills itself with SIGKILL; \
                 `cargo run --example quickstart -- --recover` takes over"
            ));
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    });
    let result = watched(place, &display)?.observer(killer).build()?.deploy(place.release("2.0", 0)?).await;
    stop_everything(place).await?;
    let steps: Vec<_> = result?.steps.iter().map(|step| step.step.to_string()).collect();
    Err(Error::config(format!("the deploy has no step {step}; it has {}", steps.join(", "))))
}

async fn recover(place: &Place, display: &Arc<ProgressDisplay>) -> Result<Vec<Report>> {
    if !place.state().join("shop.json").exists() {
        return Err(Error::config("there is nothing to recover")
            .with_hint("run `cargo run --example quickstart -- --crash-at shift-50` first"));
    }
    let seen = place.counts()?;
    display.print(&format!(
        "while nobody was deploying, traffic went on: {} requests so far, {} failed",
        seen.sent, seen.failed
    ));
    let pipeline = watched(place, display)?.build()?;
    let report = pipeline.recover().await?;
    display.print(&pipeline.status().await?.to_string());
    Ok(vec![report])
}

async fn stop_everything(place: &Place) -> Result<()> {
    place.stop_traffic().await?;
    let runtime = runtime(place)?;
    for slot in bluegreen_core::Slot::BOTH {
        bluegreen_core::Runtime::stop(&runtime, slot, Duration::from_secs(5)).await?;
    }
    place.stop_proxy().await
}

/// The proxy, as a process of its own: it must not die with the deployer.
async fn serve(place: &Place) -> Result<()> {
    let proxy =
        Proxy::builder().control_socket(place.control_socket()).state_file(place.root().join("proxy.json")).build()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    place.announce(listener.local_addr()?)?;
    proxy.serve(listener, asked_to_end(SignalKind::terminate())?.cancelled_owned()).await
}

async fn send(place: &Place, to: SocketAddr) -> Result<()> {
    let clients = Clients { address: to, keeping: 4, fresh: 4, per_second: Some(PER_SECOND) };
    Ok(traffic::run(&clients, TRAFFIC_AT_MOST, &place.counts_file(), asked_to_end(SignalKind::terminate())?).await?)
}

/// Is cancelled when this process gets the signal: Ctrl-C stops a deploy gracefully, by undoing it.
fn asked_to_end(kind: SignalKind) -> Result<CancellationToken> {
    let (token, mut asked) = (CancellationToken::new(), signal(kind)?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        asked.recv().await;
        cancelled.cancel();
    });
    Ok(token)
}

fn summary(counts: &Counts) {
    println!("{} requests were sent to the public address:", counts.sent);
    for (version, answered) in &counts.answered {
        match counts.own_errors.get(version) {
            Some(errors) => println!("  {answered:>7} answered by {version}, {errors} of them with its own error 500"),
            None => println!("  {answered:>7} answered by {version}"),
        }
    }
    println!("  {:>7} failed because of a deploy", counts.failed);
    if let Some(failure) = &counts.first_failure {
        println!("          the first one: {failure}");
    }
}
