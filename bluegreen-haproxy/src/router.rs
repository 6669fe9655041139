//! [`HaproxyRouter`]: a router that steers HAProxy by its runtime socket.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Granularity, Instance, Preview, Result, Router, ServiceName, Slot, Split};

use crate::attach;
use crate::balancer::{Balancer, to_its_end};
use crate::command::Command;
use crate::shift;
use crate::state_file;

/// Directs traffic by the weights and the states of the servers of one backend: any percentage, at once, without a reload.
///
/// - [`current`](Router::current) is what HAProxy says it was told: the weights of the servers that are ready. A server that
///   HAProxy's own check holds down still counts, because it gets its share again by itself when it is up. Which servers are
///   down is told by [`preview`](Router::preview). Weights that somebody else has set are read as the nearest whole percentage,
///   and never as 0 or 100 % while both slots have traffic.
/// - [`shift`](Router::shift) compares, changes and reads back under a lock, which is a variable of HAProxy's process. It is
///   confirmed when HAProxy, asked after the last command, shows each server of the backend as it should be, the same process
///   held the lock all the time, no slot with a share is held down by HAProxy's checks, and, while both slots have traffic,
///   `slowstart` keeps no share back. HAProxy has then put the weights into its balancing already: the next request follows them.
///   If somebody else changes a server at the same moment, it is a `Conflict`, with [`Effect::Unknown`](bluegreen_core::Effect).
/// - The order of the commands keeps some server usable at every moment: what gets more traffic comes first, what gets none any
///   more comes last. What becomes of a slot without a share is [`Park`](crate::Park).
/// - [`attach`](Router::attach) gives the slot's servers the addresses of its endpoints by `set server addr`. Servers without an
///   endpoint get weight 0, and that is how they are known. Where addresses are fixed in the configuration it only compares.
/// - [`in_flight`](Router::in_flight) is the sum of `scur` and `qcur` over the slot's servers: requests in HTTP mode,
///   connections in TCP mode and after an upgrade to a WebSocket.
/// - After HAProxy was restarted or reloaded, [`current`](Router::current) is what it does then, and a pipeline reports the
///   difference as drift: see [the crate's page](crate#reloads-and-restarts).
#[derive(Debug)]
pub struct HaproxyRouter {
    pub(crate) balancer: Arc<Balancer>,
}

impl HaproxyRouter {
    fn about(&self, what: &'static str) -> impl Fn(Error) -> Error {
        let router = self.to_string();
        move |error| error.with_operation(what).with("router", &router)
    }

    async fn previewed(&self) -> Result<Preview> {
        let balancer = &self.balancer;
        balancer.verify().await?;
        let level = balancer.socket.ask(&[Command::ShowLevel]).await?;
        match level[0].trim() {
            "admin" => {}
            level @ ("operator" | "user") => {
                let what = format!("the socket gives the level {level:?}, and changes need `level admin`");
                return Err(Error::new(ErrorKind::Unauthorized, what)
                    .not_applied()
                    .with("socket", &balancer.socket.address)
                    .with_hint("write `stats socket <path> mode 660 level admin` into HAProxy's configuration"));
            }
            other => {
                let what = format!("HAProxy answered {other:?}, which is no level of a socket");
                return Err(Error::new(ErrorKind::Unexpected, what)
                    .not_applied()
                    .with("socket", &balancer.socket.address));
            }
        }
        let seen = balancer.look().await?;
        let mut preview = Preview::default();
        for slot in Slot::BOTH {
            let down = seen.down(slot);
            if !down.is_empty() {
                preview = preview.note(format!("HAProxy's own check holds servers of {slot} down: {down}."));
            }
        }
        if seen.algorithm == "leastconn" {
            preview = preview.note("`balance leastconn` divides connections, and so requests only roughly.");
        }
        if balancer.keeps_state
            && !state_file::is_up_to_date(balancer.host(), &balancer.state_directory, &seen.states).await?
        {
            let path = state_file::path(&balancer.state_directory);
            preview =
                preview.note(format!("{path} is not what HAProxy does: its next reload would change the traffic."));
        }
        Ok(preview)
    }
}

impl fmt::Display for HaproxyRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HAProxy backend {} on {}", self.balancer.socket.backend, self.balancer.socket.host)
    }
}

#[async_trait]
impl Router for HaproxyRouter {
    fn granularity(&self) -> Granularity {
        Granularity::Percent
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.balancer.ownership.bind(service)
    }

    async fn current(&self) -> Result<Option<Split>> {
        let current = async {
            self.balancer.verify().await?;
            Ok(self.balancer.look().await?.split())
        };
        current.await.map_err(self.about("ask HAProxy for the split"))
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.previewed().await.map_err(self.about("look at the backend"))
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let (balancer, instance) = (Arc::clone(&self.balancer), instance.clone());
        let attached = to_its_end(async move {
            balancer.claim().await?;
            balancer.make_directory().await?;
            attach::attach(&balancer, slot, &instance).await
        });
        attached.await.map_err(|error| self.about("attach a slot")(error).with("slot", slot))
    }

    async fn detach(&self, slot: Slot) -> Result<()> {
        let balancer = Arc::clone(&self.balancer);
        let put_back = to_its_end(async move {
            balancer.verify().await?;
            attach::detach(&balancer, slot).await
        });
        put_back.await.map_err(|error| self.about("put the servers back")(error).with("slot", slot))
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let balancer = Arc::clone(&self.balancer);
        let shifted = to_its_end(async move {
            balancer.claim().await?;
            shift::shift(&balancer, from, to).await
        });
        shifted.await.map_err(|error| self.about("shift traffic")(error).with("to", to))
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let count = async {
            self.balancer.verify().await?;
            Ok(Some(self.balancer.look().await?.of(slot).map(|server| server.in_flight).sum()))
        };
        count.await.map_err(|error| self.about("count what is in flight")(error).with("slot", slot))
    }
}
