//! Threads that serve connections, each with a runtime of its own: what belongs to one connection stays on one thread,
//! and nobody waits for another's locks or wakes another's thread.

use std::net::{SocketAddr, TcpStream as StdStream};

use bluegreen_core::{Error, Result};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrival::Arrival;
use super::backend;

/// The threads. They end when this is dropped and their connections have ended.
#[derive(Debug, Default)]
pub(super) struct Workers {
    queues: Vec<UnboundedSender<Handed>>,
    next: usize,
}

type Handed = (StdStream, SocketAddr, Arrival);

impl Workers {
    /// Starts so many threads. `tasks` has ended when they have; they end at once when they are `cut`.
    ///
    /// # Errors
    /// The system has no thread or no descriptor for them.
    pub(super) fn start(count: usize, tasks: &TaskTracker, cut: &CancellationToken) -> Result<Self> {
        let mut queues = Vec::with_capacity(count);
        for index in 0..count {
            let failed = |error| Error::from(error).not_applied().with_operation("start a thread of the proxy");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let (queue, handed) = unbounded_channel();
            let (token, cut) = (tasks.token(), cut.clone());
            let thread = std::thread::Builder::new().name(format!("proxy-{index}"));
            let work = move || {
                backend::use_pool_of_thread(index + 1);
                runtime.block_on(serve(handed, cut));
                drop((runtime, token));
            };
            thread.spawn(work).map_err(failed)?;
            queues.push(queue);
        }
        Ok(Self { queues, next: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Gives a connection to the thread whose turn it is.
    pub(super) fn hand(&mut self, stream: TcpStream, peer: SocketAddr, arrival: Arrival) {
        let Ok(stream) = stream.into_std() else { return };
        let next = self.next % self.queues.len().max(1);
        self.next = next + 1;
        if let Some(queue) = self.queues.get(next) {
            // A thread that has ended was cut, and all of its connections with it.
            let _ = queue.send((stream, peer, arrival));
        }
    }
}

async fn serve(mut handed: UnboundedReceiver<Handed>, cut: CancellationToken) {
    let mut connections = JoinSet::new();
    let serving = async {
        loop {
            tokio::select! {
                next = handed.recv() => match next {
                    Some((stream, peer, arrival)) => match TcpStream::from_std(stream) {
                        Ok(stream) => drop(connections.spawn(arrival.serve(stream, peer))),
                        Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
                    },
                    None => break,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serving => {}
        () = cut.cancelled() => {}
    }
}
