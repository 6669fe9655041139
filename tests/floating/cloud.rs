//! Who moves the address: a fake of a cloud that does so between the namespaces, or the servers themselves.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_testkit::fakes::{DigitalOcean, FakeServer, Hetzner};
use bluegreen_testkit::lab::Network;

/// Hetzner's number of the address.
pub(crate) const NUMBER: u64 = 7;

/// How long an action of a cloud takes before the address moves.
const ACTION: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    DigitalOcean,
    Hetzner,
    OwnServers,
}

impl Variant {
    /// As the tool calls it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::DigitalOcean => "digitalocean",
            Self::Hetzner => "hetzner",
            Self::OwnServers => "own-servers",
        }
    }
}

/// A cloud whose API listens on the loopback of the client's namespace, where the deploy tool runs too.
pub(crate) enum Cloud {
    DigitalOcean(Arc<DigitalOcean>),
    Hetzner(Arc<Hetzner>),
    None,
}

/// Moves the address as a cloud does: its network leads new packets elsewhere, from one moment to the next.
#[derive(Clone)]
pub(crate) struct Mover {
    client: String,
    /// Blue, green and the third server: their numbers, namespaces and hardware addresses.
    servers: Vec<(u64, String, String)>,
}

impl Mover {
    fn of(network: &Network) -> Self {
        let servers = [(11, &network.blue), (22, &network.green), (33, &network.third)];
        let describe = |(number, namespace): (u64, &bluegreen_testkit::lab::Namespace)| {
            let mac = namespace.exec(&["cat", "/sys/class/net/eth0/address"]).trim().to_owned();
            (number, namespace.name().to_owned(), mac)
        };
        Self { client: network.client.name().to_owned(), servers: servers.map(describe).into() }
    }

    fn give_to(&self, to: u64) {
        let address = format!("{}/32", Network::V4);
        let (_, namespace, mac) = self.servers.iter().find(|(number, ..)| *number == to).unwrap();
        ip(namespace, &["address", "replace", &address, "dev", "eth0"]);
        ip(&self.client, &["neighbour", "replace", Network::V4, "lladdr", mac, "dev", "eth0", "nud", "permanent"]);
        for (number, namespace, _) in &self.servers {
            if *number != to {
                // It may not be there.
                let words = ["netns", "exec", namespace, "ip", "address", "del", &address, "dev", "eth0"];
                let _ = Command::new("ip").args(words).output();
            }
        }
    }
}

fn ip(namespace: &str, words: &[&str]) {
    let output = Command::new("ip").args(["netns", "exec", namespace, "ip"]).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Cloud {
    /// Starts the fake, if the variant has one.
    pub(crate) async fn start(variant: Variant, network: &Network) -> (Self, Option<FakeServer>) {
        let cloud = match variant {
            Variant::DigitalOcean => {
                let cloud = DigitalOcean::new();
                cloud.reserve(Network::V4);
                cloud.actions_take(ACTION);
                Self::DigitalOcean(cloud)
            }
            Variant::Hetzner => {
                let cloud = Hetzner::new();
                cloud.create(NUMBER);
                cloud.actions_take(ACTION);
                Self::Hetzner(cloud)
            }
            Variant::OwnServers => Self::None,
        };
        cloud.when_moved(network, |_| {});
        let api = cloud.serve(network).await;
        (cloud, api)
    }

    /// The API; again after an outage.
    pub(crate) async fn serve(&self, network: &Network) -> Option<FakeServer> {
        match self {
            Self::DigitalOcean(cloud) => Some(network.client.run(FakeServer::start(cloud.clone())).await),
            Self::Hetzner(cloud) => Some(network.client.run(FakeServer::start(cloud.clone())).await),
            Self::None => None,
        }
    }

    /// Has the address move between the namespaces, and then `then` done, with the number of the server.
    pub(crate) fn when_moved(&self, network: &Network, then: impl Fn(u64) + Send + Sync + 'static) {
        let mover = Mover::of(network);
        let hook = move |to| {
            mover.give_to(to);
            then(to);
        };
        match self {
            Self::DigitalOcean(cloud) => cloud.on_assign(move |moved| hook(moved.to)),
            Self::Hetzner(cloud) => cloud.on_assign(move |moved| hook(moved.to)),
            Self::None => {}
        }
    }

    /// As a person in the control panel does.
    pub(crate) fn move_by_hand(&self, to: u64) {
        match self {
            Self::DigitalOcean(cloud) => cloud.move_by_hand(Network::V4, Some(to)),
            Self::Hetzner(cloud) => cloud.move_by_hand(NUMBER, Some(to)),
            Self::None => panic!("there is no cloud"),
        }
    }
}
