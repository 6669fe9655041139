//! The peers that are believed when they say for whom they speak.

use std::net::IpAddr;

use bluegreen_core::{Error, Result};
use ipnet::IpNet;

/// Addresses and networks of other proxies of ours.
#[derive(Debug)]
pub(super) struct TrustedPeers(Vec<IpNet>);

impl TrustedPeers {
    /// # Errors
    /// `Config` when one is neither an address nor a network.
    pub(super) fn new(peers: &[String]) -> Result<Self> {
        peers.iter().map(|peer| network(peer)).collect::<Result<_>>().map(Self)
    }

    pub(super) fn contain(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

fn network(text: &str) -> Result<IpNet> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|address| address.to_canonical().into())).map_err(
        |_| {
            Error::config(format!("{text:?} is neither an IP address nor a network"))
                .with_hint("name each proxy that is believed as 10.0.0.7, fd00::7 or 10.0.0.0/8")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_known_by_address_and_by_network_however_the_system_writes_them() {
        let text = ["10.0.0.7", "192.168.0.0/16", "fd00::/8", "::ffff:10.9.9.9"].map(str::to_owned);
        let peers = TrustedPeers::new(&text).unwrap();
        for (peer, is_trusted) in [
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("10.9.9.9", true),
            ("10.0.0.8", false),
            ("192.168.7.1", true),
            ("::ffff:192.168.7.1", true),
            ("192.169.0.1", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(peers.contain(peer.parse().unwrap()), is_trusted, "{peer}");
        }
        assert!(!TrustedPeers::new(&[]).unwrap().contain("127.0.0.1".parse().unwrap()));
        for bad in ["", "proxy.internal", "10.0.0.0/33", "10.0.0.7:80"] {
            assert!(TrustedPeers::new(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
