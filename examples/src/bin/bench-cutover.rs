//! 100 cutovers of the embedded proxy under load: 32 clients that keep their connection and 8 that open one for each
//! request. Prints the requests, the failures (there must be none), and how long a shift takes to its confirmation.
//!
//! `cargo run --release -p bluegreen-examples --bin bench-cutover`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bluegreen_core::{Endpoint, Instance, Result, Router, Slot, Split, Version};
use bluegreen_examples::service::{self, Settings};
use bluegreen_examples::traffic::{Clients, Counts};
use bluegreen_local::{Proxy, ProxyRouter};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const CUTOVERS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> ExitCode {
    match bench().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let stop = CancellationToken::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let public = listener.local_addr()?;
    let socket = folder.path().join("proxy.socket");
    let proxy = Proxy::builder().control_socket(&socket).state_file(folder.path().join("proxy.json")).build()?;
    let (serving, stopped) = (proxy.clone(), stop.clone());
    let served = tokio::spawn(async move { serving.serve(listener, stopped.cancelled_owned()).await });

    for (way, router) in [("in process", proxy.router()), ("over its control socket", ProxyRouter::new(&socket))] {
        start(&router, &stop).await?;
        let load = Clients { address: public, keeping: 32, fresh: 8, per_second: None }.start();
        tokio::time::sleep(BETWEEN).await;
        let times = cutovers(&router).await?;
        let seen = load.stop().await;
        print(way, &seen, times);
        if seen.failed > 0 {
            return Ok(seen.failed);
        }
    }
    stop.cancel();
    served.await.map_err(std::io::Error::other)??;
    Ok(0)
}

/// Starts a service in each slot and routes to blue.
async fn start(router: &ProxyRouter, stop: &CancellationToken) -> Result<()> {
    for slot in Slot::BOTH {
        let listen = free_port().await?;
        let version = Version::new(slot.as_str())?;
        let settings = Settings { listen, version: version.to_string(), fail_percent: 0, start_delay: Duration::ZERO };
        tokio::spawn(service::serve(settings, stop.clone()));
        let instance =
            Instance::Running { version: Some(version), endpoints: vec![Endpoint::http(listen.to_string())] };
        router.attach(slot, &instance).await?;
    }
    tokio::time::sleep(BETWEEN).await;
    router.shift(router.current().await?, Split::all(Slot::Blue)).await
}

async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

async fn cutovers(router: &ProxyRouter) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(CUTOVERS);
    let mut live = Slot::Blue;
    for _ in 0..CUTOVERS {
        let began = Instant::now();
        router.shift(Some(Split::all(live)), Split::all(live.other())).await?;
        times.push(began.elapsed());
        live = live.other();
        tokio::time::sleep(BETWEEN).await;
    }
    times.sort();
    Ok(times)
}

fn print(way: &str, seen: &Counts, times: Vec<Duration>) {
    println!("{CUTOVERS} cutovers of the embedded proxy, steered {way}, under 32 keep-alive clients and 8 without:");
    let answers: Vec<_> = seen.answered.iter().map(|(version, count)| format!("{count} by {version}")).collect();
    println!("  {} requests, {} failed; answered: {}", seen.sent, seen.failed, answers.join(", "));
    if let Some(failure) = &seen.first_failure {
        println!("  the first failure: {failure}");
    }
    println!(
        "  shift to confirmed: median {:.1?}, 99 % within {:.1?}",
        times[CUTOVERS / 2],
        times[CUTOVERS * 99 / 100]
    );
}
