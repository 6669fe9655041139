//! Eight servers in one terminal, with nothing installed: a fleet is deployed in waves under traffic. One member fails and is
//! brought up later; then a wave turns bad, and everything is undone. Not one request is lost.
//!
//! ```text
//! cargo run --example fleet-lab
//! ```
//!
//! Each member has a process runtime and an embedded proxy of its own, as a server would have.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::fleet::{Fleet, FleetBuilder, Member, Wave};
use bluegreen_core::gates::{BadRequests, RateGate};
use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::{PipelineBuilder, Retention, Strategy};
use bluegreen_core::{Error, ErrorKind, FileStateStore, Pipeline, Result, Runtime, Slot};
use bluegreen_examples::place::Place;
use bluegreen_examples::traffic::{Clients, Counts, Running};
use bluegreen_http::{HttpCheck, PrometheusPage};
use bluegreen_local::{ProcessRuntime, Proxy, ProxyRouter};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const MEMBERS: usize = 8;

/// Requests per second to each member: enough for a verdict on one of them within seconds.
const PER_SECOND: u32 = 100;

/// The share of failed requests that the gate allows, as in the quickstart.
const ERROR_LIMIT: f64 = 0.01;

/// One server: where it keeps things, and its public address.
struct Server {
    name: String,
    place: Place,
    public: SocketAddr,
}

impl Server {
    /// Starts its proxy, which ends with this program.
    async fn start(lab: &Place, number: usize, stop: &CancellationToken) -> Result<Self> {
        let name = format!("web{number}");
        let place = Place::open("fleet-lab", Some(lab.root().join(&name)))?;
        place.clear()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let public = listener.local_addr()?;
        let proxy = Proxy::builder().control_socket(place.control_socket()).threads(1).build()?;
        let stop = stop.clone();
        tokio::spawn(async move { proxy.serve(listener, stop.cancelled_owned()).await });
        Ok(Self { name, place, public })
    }

    /// What runs its releases. On a server that is broken, none comes up.
    fn runtime(&self, broken: bool) -> Result<ProcessRuntime> {
        let start = if broken { "never" } else { "200" };
        let words = ["--fail-percent", "{setting:fail-percent}", "--start-millis", start];
        ProcessRuntime::builder(self.place.services()).args(words).build()
    }

    fn member(&self, broken: Option<&str>) -> Result<Member> {
        let runtime = self.runtime(broken == Some(&*self.name))?;
        // The public address of this one; a load balancer or DNS would be in front of all.
        let public =
            HttpCheck::builder(format!("http://{}/health", self.public)).version_from_json("/version").build()?;
        Ok(Member::new(&self.name, runtime).router(ProxyRouter::new(self.place.control_socket())).verify(public))
    }

    fn clients(&self) -> Running {
        Clients { address: self.public, keeping: 2, fresh: 2, per_second: Some(PER_SECOND) }.start()
    }
}

type Display = Arc<ProgressDisplay>;

fn pipeline(lab: &Place, servers: &[Server], broken: Option<&str>, display: &Display) -> Result<PipelineBuilder> {
    let members: Result<Vec<_>> = servers.iter().map(|server| server.member(broken)).collect();
    let health = HttpCheck::builder("/health").version_from_json("/version").build()?;
    let fleet = members?.into_iter().fold(Fleet::builder(), FleetBuilder::with_member);
    let fleet = fleet.health(move |_| health.clone()).max_failures(1).build()?;
    Ok(Pipeline::builder("shop")
        .fleet(&fleet)
        .store(FileStateStore::new(lab.state()))
        .retention(Retention::UntilNextDeploy)
        .check_interval(Duration::from_millis(200))
        .observer(display.clone()))
}

/// The pipeline for a release that can be compared with the one before: the first wave, a second one, and then all.
fn watched(builder: PipelineBuilder) -> Result<Pipeline> {
    let errors = PrometheusPage::builder().by_label("http_requests_total", r#"status=~"5..""#).build()?;
    let gate = RateGate::builder(BadRequests::Failed, errors)
        .limit(ERROR_LIMIT)
        .warm_up(Duration::from_millis(500))
        .build()?;
    let (soak, longest) = (Duration::from_secs(2), Duration::from_secs(90));
    let waves = [Wave::members(1), Wave::percent(50).soak(soak).max_soak(longest), Wave::all()];
    builder.strategy(Strategy::waves(waves)).gate(gate).gate_interval(Duration::from_millis(250)).build()
}

async fn story(lab: &Place, servers: &[Server], display: &Display) -> Result<()> {
    pipeline(lab, servers, None, display)?.build()?.deploy(lab.release("1.0", 0)?).await?;
    let traffic: Vec<_> = servers.iter().map(Server::clients).collect();
    display.print(&format!("1.0 runs on {MEMBERS} members; each gets {PER_SECOND} requests per second from now on"));
    let told = under_traffic(lab, servers, display).await;
    let mut seen = Vec::new();
    for running in traffic {
        seen.push(running.stop().await);
    }
    told?;
    summary(&seen);
    match seen.iter().map(|counts| counts.failed).sum() {
        0_u64 => Ok(()),
        failed => Err(Error::new(ErrorKind::Unexpected, format!("{failed} requests failed because of a deploy"))),
    }
}

async fn under_traffic(lab: &Place, servers: &[Server], display: &Display) -> Result<()> {
    display.print("2.0 is next: web6 is broken, and one member may fail");
    let pipeline_with = |broken| watched(pipeline(lab, servers, broken, display)?);
    println!("{}", pipeline_with(Some("web6"))?.deploy(lab.release("2.0", 0)?).await?);

    display.print("web6 is repaired, and brought up to the others");
    println!("{}", pipeline_with(None)?.resume(lab.release("2.0", 0)?).await?);

    display.print("3.0 is next: it starts healthy, and then fails 5 % of its requests");
    let error = match pipeline_with(None)?.deploy(lab.release("3.0", 5)?).await {
        Err(error) if error.report().is_some_and(|report| report.outcome.word() == "rolled back") => error,
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::new(ErrorKind::Unexpected, "3.0 was not caught by the gate")),
    };
    println!("{}", error.render());
    print!("{}", pipeline_with(None)?.status().await?);
    Ok(())
}

fn summary(seen: &[Counts]) {
    let total = |count: fn(&Counts) -> u64| seen.iter().map(count).sum::<u64>();
    println!("{} requests were sent to {} members:", total(|counts| counts.sent), seen.len());
    for version in ["1.0", "2.0", "3.0"] {
        let answered: u64 = seen.iter().filter_map(|counts| counts.answered.get(version)).sum();
        let errors: u64 = seen.iter().filter_map(|counts| counts.own_errors.get(version)).sum();
        println!("  {answered:>7} answered by {version}, {errors} of them with its own error 500");
    }
    println!("  {:>7} failed because of a deploy", total(|counts| counts.failed));
    if let Some(failure) = seen.iter().find_map(|counts| counts.first_failure.as_ref()) {
        println!("          the first one: {failure}");
    }
}

async fn run() -> Result<()> {
    let lab = Place::open("fleet-lab", std::env::args().nth(1).map(Into::into))?;
    lab.clear()?;
    lab.build_service("demo-service")?;
    let stop = CancellationToken::new();
    let mut servers = Vec::new();
    for number in 1..=MEMBERS {
        servers.push(Server::start(&lab, number, &stop).await?);
    }
    let told = story(&lab, &servers, &Arc::new(ProgressDisplay::stderr())).await;
    for server in &servers {
        for slot in Slot::BOTH {
            server.runtime(false)?.stop(slot, Duration::from_secs(5)).await?;
        }
    }
    stop.cancel();
    told
}

#[tokio::main]
async fn main() -> ExitCode {
    bluegreen_examples::cli::exit_code(run().await)
}
