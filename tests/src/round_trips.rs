//! How often one waits for a host: the longest chain of what was asked of it one after another.
//!
//! What is asked side by side counts once, because what is asked next can only be asked after an answer. A busy machine may add to
//! the count, and never takes away from it.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::event::{Event, EventKind};
use bluegreen_core::state::Step;
use bluegreen_core::{Command, Host, Observer, Output, Progress, Result, Tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What one thing that is asked of an `SshHost` waits for. Its own tests hold it to that.
const ASKED: u32 = 1;

/// A file that is sent: it is asked for, checked, and put in place.
const UPLOAD: u32 = 3;

/// A connection through a tunnel: the server opens a channel; then it is asked.
const THROUGH_A_TUNNEL: u32 = 2;

/// For how long an answer is held, for each of its round trips: long against what a server takes, so that of two things that are
/// asked side by side, the one with fewer round trips is answered first.
const HELD: Duration = Duration::from_millis(250);

/// Counts the round trips of all hosts that share it.
#[derive(Debug, Clone, Default)]
pub struct RoundTrips(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    /// How many round trips have ended one after another.
    depth: u32,
    /// Where the present look at a program that is not ready began.
    mark: u32,
    /// How many looks found one that was not: what was asked beside them is not counted.
    ill: u32,
    asked: Vec<Asked>,
    steps: Vec<(Step, u32, u32)>,
}

#[derive(Debug)]
struct Asked {
    what: String,
    from: u32,
    to: u32,
}

impl RoundTrips {
    /// This host, counted.
    pub fn of<H: Host>(&self, host: H) -> Counted<H> {
        Counted { host: Arc::new(host), trips: self.clone() }
    }

    /// How many there were since the last call; the table goes to standard output.
    pub fn take(&self, title: &str) -> u32 {
        let log = std::mem::take(&mut *self.log());
        println!("{}", log.table(title));
        log.depth
    }

    async fn counting<T>(&self, what: impl Into<String>, cost: u32, work: impl Future<Output = T>) -> T {
        let asked = self.now();
        let done = work.await;
        sleep(HELD * cost).await;
        self.answered(what.into(), asked, cost);
        done
    }

    fn now(&self) -> (u32, u32) {
        let log = self.log();
        (log.depth, log.ill)
    }

    fn answered(&self, what: String, (from, ill): (u32, u32), cost: u32) {
        let mut log = self.log();
        if log.ill == ill {
            let to = from + cost;
            log.depth = log.depth.max(to);
            log.asked.push(Asked { what, from, to });
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn table(&self, title: &str) -> String {
        let mut table = format!("{title}: {} round trips\n", self.depth);
        for (step, from, to) in &self.steps {
            let _ = writeln!(table, "  {:<24} {:>3}", step.to_string(), to - from);
        }
        let mut asked: Vec<_> = self.asked.iter().collect();
        asked.sort_by_key(|asked| (asked.from, asked.to));
        for Asked { what, from, to } in asked {
            let _ = writeln!(table, "  {:>3} to {to:>3}  {what}", from + 1);
        }
        table
    }
}

/// Tells the steps apart. What a program that is not ready, or requests in flight, make a deploy ask again is not counted: how often
/// that is depends on them.
impl Observer for RoundTrips {
    fn observe(&self, event: &Event) {
        let mut log = self.log();
        match &event.what {
            EventKind::Checked { reason: Some(_), .. } | EventKind::Draining { in_flight: Some(1..) } => {
                log.depth = log.mark;
                log.ill += 1;
            }
            EventKind::StepDone { .. } | EventKind::StepFailed { .. } => {
                let from = log.steps.last().map_or(0, |(_, _, to)| *to);
                let to = log.depth;
                log.steps.extend(event.step.map(|step| (step, from, to)));
            }
            _ => {}
        }
        log.mark = log.depth;
    }
}

/// A host that is counted.
#[derive(Debug)]
pub struct Counted<H> {
    host: Arc<H>,
    trips: RoundTrips,
}

impl<H> Clone for Counted<H> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), trips: self.trips.clone() }
    }
}

impl<H: Host> fmt::Display for Counted<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

#[async_trait]
impl<H: Host> Host for Counted<H> {
    async fn run(&self, command: &Command) -> Result<Output> {
        self.trips.counting(command.to_string(), ASKED, self.host.run(command)).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.trips.counting(format!("read {path}"), ASKED, self.host.read(path)).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.trips.counting(format!("write {path}"), ASKED, self.host.write(path, contents, mode)).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        self.trips.counting(format!("upload {remote}"), UPLOAD, self.host.upload(local, remote, progress)).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        self.trips.counting(format!("download {remote}"), ASKED, self.host.download(remote, local, progress)).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        self.trips.counting(format!("link {link}"), ASKED, self.host.symlink(target, link)).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        let tunnel = self.host.tunnel(address).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let local = listener.local_addr()?.to_string();
        let (trips, through, what) = (self.trips.clone(), tunnel.address().to_owned(), format!("connect to {address}"));
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, through.clone(), trips.clone(), what.clone()));
            }
        });
        Ok(Tunnel::guarded(local, (carrying, tunnel)))
    }
}

/// Carries one connection; the first bytes of its answer are when it was answered.
async fn carry(mut client: TcpStream, through: String, trips: RoundTrips, what: String) -> std::io::Result<()> {
    let asked = trips.now();
    let mut server = TcpStream::connect(through).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        let (mut buffer, mut what) = (vec![0; 64 << 10], Some(what));
        loop {
            let count = from_server.read(&mut buffer).await?;
            if let Some(what) = what.take_if(|_| count > 0) {
                sleep(HELD * THROUGH_A_TUNNEL).await;
                trips.answered(what, asked, THROUGH_A_TUNNEL);
            }
            match count {
                0 => return to_client.shutdown().await,
                count => to_client.write_all(&buffer[..count]).await?,
            }
        }
    };
    tokio::try_join!(up, down).map(drop)
}
