//! What a fleet costs beyond its members: time, memory and journal writes of a deploy in three waves, from 10 to 1,000 members in
//! memory; and 100 services of 50 members each at once. `cargo bench -p bluegreen-core --bench bench-fleet`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::fleet::{Fleet, Member, Wave};
use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::Strategy;
use bluegreen_core::state::State;
use bluegreen_core::{Granularity, Pipeline, Release, Result, Revision, ServiceName, StateStore, Versioned};

/// Counts what is written, and how much.
#[derive(Debug, Clone, Default)]
struct Counted {
    store: MemoryStateStore,
    writes: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted store")
    }
}

#[async_trait]
impl StateStore for Counted {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        self.store.load(service).await
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(state.to_bytes()?.len() as u64, Ordering::Relaxed);
        self.store.commit(service, expected, state).await
    }
}

fn pipeline(service: &str, members: usize, store: &Counted) -> Pipeline {
    let parts: Vec<_> = (0..members)
        .map(|number| {
            let router = MemoryRouter::with_granularity(Granularity::AllOrNothing);
            (format!("m{number}"), MemoryRuntime::new(), router)
        })
        .collect();
    let fleet = parts.iter().fold(Fleet::builder(), |fleet, (name, runtime, router)| {
        fleet.with_member(Member::new(name, runtime.clone()).router(router.clone()))
    });
    let fleet = fleet.health(|_| MemoryHealth::new()).build().unwrap();
    let (_, runtime, router) = &parts[members - 1];
    let public = MemoryPublic::new(router, runtime);
    let waves = match members {
        10 => vec![Wave::members(1), Wave::all()],
        _ => vec![Wave::members(1), Wave::percent(10), Wave::all()],
    };
    Pipeline::builder(service)
        .fleet(&fleet)
        .store(store.clone())
        .verify(public)
        .strategy(Strategy::waves(waves))
        .check_interval(Duration::from_nanos(1))
        .drain(Duration::ZERO)
        .build()
        .unwrap()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[tokio::main]
async fn main() {
    // Neither the first use of the runtime nor that of the allocator is a member's.
    pipeline("warm-up", 10, &Counted::default()).deploy(Release::new("1.0").unwrap()).await.unwrap();
    println!("| members | deploy | per member | memory per member | journal writes | size of the document |");
    println!("|---|---|---|---|---|---|");
    for members in [10, 100, 1000] {
        let (before, store) = (resident_kib(), Counted::default());
        let pipeline = pipeline("shop", members, &store);
        pipeline.deploy(Release::new("1.0").unwrap()).await.unwrap();
        let (writes, bytes) = (store.writes.load(Ordering::Relaxed), store.bytes.load(Ordering::Relaxed));
        let began = Instant::now();
        pipeline.deploy(Release::new("1.1").unwrap()).await.unwrap();
        let took = began.elapsed();
        let writes = store.writes.load(Ordering::Relaxed) - writes;
        let document = (store.bytes.load(Ordering::Relaxed) - bytes) / writes;
        let memory = (resident_kib().saturating_sub(before)) as f64 / members as f64;
        println!(
            "| {members} | {:.1} ms | {:.3} ms | {memory:.0} KiB | {writes} | {:.1} KiB |",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e3 / members as f64,
            document as f64 / 1024.0
        );
    }
    let services: Vec<_> = (0..100)
        .map(|number| {
            let store = Counted::default();
            pipeline(&format!("service{number}"), 50, &store)
        })
        .collect();
    let began = Instant::now();
    let deploys: Vec<_> = services
        .into_iter()
        .map(|pipeline| tokio::spawn(async move { pipeline.deploy(Release::new("1.0").unwrap()).await.map(|_| ()) }))
        .collect();
    for deploy in deploys {
        deploy.await.unwrap().unwrap();
    }
    println!("\n100 services of 50 members each, deployed at once: {:.2} s", began.elapsed().as_secs_f64());
}
