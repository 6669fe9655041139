//! A client that opens a new connection to an address every few milliseconds, and notes what became of each.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Namespace;
use super::service::PORT;

/// Between two new connections.
const EVERY: Duration = Duration::from_millis(5);

/// For one answer: a lost SYN is sent again after 1 s, then after 2 s more.
const LIMIT: Duration = Duration::from_secs(8);

/// A SYN was lost.
const STALLED: Duration = Duration::from_millis(500);

/// What became of one connection.
#[derive(Debug, Clone)]
struct Heard {
    began: Instant,
    ended: Instant,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By this page.
    Answered(String),
    /// The connection was there, and broke.
    Broken(String),
    /// There was no connection.
    Unconnected(String),
}

/// One request over a connection of its own; to be run in the client's namespace.
pub async fn ask(address: IpAddr) -> Outcome {
    let connect = tokio::time::timeout(LIMIT, TcpStream::connect((address, PORT)));
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
        server.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await?;
        let mut text = String::new();
        server.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    match tokio::time::timeout(LIMIT, talk).await {
        Err(_) => Outcome::Broken("no answer in time".to_owned()),
        Ok(Err(error)) => Outcome::Broken(error.to_string()),
        Ok(Ok(text)) => match text.split_once("\r\n\r\n") {
            Some((head, page)) if head.starts_with("HTTP/1.1 200 ") => Outcome::Answered(page.trim().to_owned()),
            _ => Outcome::Broken(format!("answered {text:?}")),
        },
    }
}

/// A client at work.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Heard>>,
}

/// Watches an address until it is told to stop.
pub fn watch(client: &Namespace, address: IpAddr) -> Watch {
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

impl Watch {
    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        Seen(self.task.await.unwrap())
    }
}

/// What a client saw, in the order in which the connections began.
#[derive(Debug)]
pub struct Seen(Vec<Heard>);

impl Seen {
    pub fn connections(&self) -> usize {
        self.0.len()
    }

    /// The pages in the order in which connections began, without repetitions.
    pub fn order(&self) -> Vec<&str> {
        let mut order: Vec<&str> = self.answers().map(|(_, version)| version).collect();
        order.dedup();
        order
    }

    pub fn unconnected(&self) -> Vec<&Outcome> {
        self.outcomes().filter(|outcome| matches!(outcome, Outcome::Unconnected(_))).collect()
    }

    pub fn broken(&self) -> Vec<&Outcome> {
        self.outcomes().filter(|outcome| matches!(outcome, Outcome::Broken(_))).collect()
    }

    /// From the last answer with the first page to the first answer with another one.
    pub fn gap(&self) -> Duration {
        let Some((_, old)) = self.answers().next() else { return Duration::ZERO };
        let last = self.answers().filter(|(_, version)| *version == old).map(|(heard, _)| heard.ended).max();
        let first = self.answers().filter(|(_, version)| *version != old).map(|(heard, _)| heard.ended).min();
        last.zip(first).map(|(last, first)| first.saturating_duration_since(last)).unwrap_or_default()
    }

    /// When the first answer with a page was there, in milliseconds of the day (UTC).
    pub fn first(&self, version: &str) -> Option<u128> {
        let answers = self.answers().filter(|(_, answered)| *answered == version);
        let first = answers.map(|(heard, _)| heard.ended).min()?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - first.elapsed();
        Some(since_epoch.as_millis() % (24 * 60 * 60 * 1000))
    }

    /// The longest that an answered connection took.
    pub fn worst(&self) -> Duration {
        self.answers().map(|(heard, _)| heard.ended - heard.began).max().unwrap_or_default()
    }

    /// Connections for which a SYN was sent again.
    pub fn stalled(&self) -> usize {
        self.answers().filter(|(heard, _)| heard.ended - heard.began > STALLED).count()
    }

    /// Everything that the notes on moving addresses allow for a single move, and nothing else: every new connection is
    /// answered, first with the old page and then with the new one; only those break that were open at that very moment.
    pub fn is_one_move(&self, old: &str, new: &str) {
        assert_eq!(self.order(), [old, new], "first the old version, then the new one, and never back: {self}");
        assert!(self.unconnected().is_empty(), "{self}");
        let first = self.answers().find(|(_, version)| *version == new).unwrap().0;
        let last = self.answers().filter(|(_, version)| *version == old).last().unwrap().0;
        for heard in &self.0 {
            let open = heard.began <= first.ended && heard.ended >= last.began;
            assert!(open || matches!(heard.outcome, Outcome::Answered(_)), "broke away from the move: {heard:?}");
        }
        // At 5 ms apart one, on a busy machine a few.
        assert!(self.broken().len() * 20 <= self.connections(), "{self}");
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.0.iter().map(|heard| &heard.outcome)
    }

    fn answers(&self) -> impl Iterator<Item = (&Heard, &str)> {
        self.0.iter().filter_map(|heard| match &heard.outcome {
            Outcome::Answered(version) => Some((heard, version.as_str())),
            _ => None,
        })
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} connections, {:?}, gap {:.1?}, worst latency {:.1?}, {} stalled by a lost SYN, broken {:?}, unconnected {:?}",
            self.connections(),
            self.order(),
            self.gap(),
            self.worst(),
            self.stalled(),
            self.broken(),
            self.unconnected(),
        )
    }
}
