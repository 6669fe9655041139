//! A client that opens a new connection every few milliseconds, and notes what became of each.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bluegreen_core::Slot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::service::PORT;
use super::{Namespace, Network};

/// Between two new connections.
const EVERY: Duration = Duration::from_millis(5);

/// For one answer: a lost SYN is sent again after 1 s, then after 2 s more.
const LIMIT: Duration = Duration::from_secs(8);

/// What became of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Slot),
    /// The connection was there, and broke.
    Broken(String),
    /// There was no connection.
    Unconnected(String),
}

/// One request over a connection of its own; to be run in the client's namespace.
pub(crate) async fn ask(address: IpAddr) -> Outcome {
    let connect = tokio::time::timeout(LIMIT, TcpStream::connect(SocketAddr::new(address, PORT)));
    let mut server = match connect.await {
        Ok(Ok(server)) => server,
        // Reset right after it was made: the answer to its handshake went to the new server.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            return Outcome::Broken(error.to_string());
        }
        Ok(Err(error)) => return Outcome::Unconnected(error.to_string()),
        Err(_) => return Outcome::Unconnected("no connection in time".to_owned()),
    };
    let talk = async {
        let mut text = String::new();
        let exchange = async {
            server.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await?;
            server.read_to_string(&mut text).await
        };
        if let Err(error) = exchange.await {
            return Outcome::Broken(error.to_string());
        }
        match text.rsplit("\r\n\r\n").next().unwrap_or_default().parse() {
            Ok(slot) => Outcome::Answered(slot),
            Err(_) => Outcome::Broken(format!("answered {text:?}")),
        }
    };
    tokio::time::timeout(LIMIT, talk).await.unwrap_or_else(|_| Outcome::Broken("no answer in time".to_owned()))
}

/// Watches an address until it is told to stop; what it heard comes in the order in which the connections began.
pub(crate) fn watch(client: &Namespace, address: IpAddr) -> Watch {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let task = client.spawn(async move {
        let mut asked = Vec::new();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !ended.load(Ordering::Acquire) {
            ticks.tick().await;
            asked.push(tokio::spawn(async move {
                let began = Instant::now();
                let outcome = ask(address).await;
                Heard { began, ended: Instant::now(), outcome }
            }));
        }
        let mut heard = Vec::new();
        for one in asked {
            heard.push(one.await.unwrap());
        }
        heard
    });
    Watch { stop, task }
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Heard>>,
}

impl Watch {
    pub(crate) async fn stop(self) -> Vec<Heard> {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}

/// What the client saw of one move.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) connections: usize,
    /// The slots in the order in which connections began, without repetitions.
    pub(crate) order: Vec<Slot>,
    /// Connections that broke, or never were.
    pub(crate) failed: Vec<Outcome>,
    /// From the last answer of the old slot to the first one of the new slot.
    pub(crate) gap: Duration,
    /// The longest that an answered connection took.
    pub(crate) worst: Duration,
    /// Connections that took more than half a second: a SYN was lost.
    pub(crate) stalled: usize,
}

pub(crate) fn summary(heard: &[Heard]) -> Summary {
    let mut order = Vec::new();
    let (mut last_old, mut first_new) = (None, None);
    let (mut worst, mut stalled) = (Duration::ZERO, 0);
    let mut failed = Vec::new();
    for one in heard {
        let Outcome::Answered(slot) = one.outcome else {
            failed.push(one.outcome.clone());
            continue;
        };
        if order.last() != Some(&slot) {
            order.push(slot);
        }
        if order.len() == 1 {
            last_old = last_old.max(Some(one.ended));
        } else {
            first_new = Some(first_new.map_or(one.ended, |first: Instant| first.min(one.ended)));
        }
        let took = one.ended - one.began;
        worst = worst.max(took);
        stalled += usize::from(took > Duration::from_millis(500));
    }
    let gap = match (last_old, first_new) {
        (Some(last), Some(first)) => first.saturating_duration_since(last),
        _ => Duration::ZERO,
    };
    Summary { connections: heard.len(), order, failed, gap, worst, stalled }
}
