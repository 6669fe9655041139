//! An address between two servers of one's own.

mod interface;
mod lingering;
mod script;
mod server;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Ownership, PerSlot, Result, ServiceName, Slot};

use crate::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed, Transition};
pub use lingering::Lingering;
use script::{Purpose, Report, State};
pub use server::VipServer;

/// Moves an address between two servers on one network, over any [`Host`](bluegreen_core::Host): what keepalived does by itself, done by a
/// deployer when it decides to.
///
/// A move adds the address to the new server and announces it (gratuitous ARP, or unsolicited neighbour advertisements),
/// then removes it from the old one, and announces it once more. So it is never on none of them. Between the two it is on
/// both; on the new one it is marked as deprecated then, which `ip address` shows, and by which the next look knows that
/// the move is to be completed: a deployer that dies in between leaves an address that works, on the new server.
///
/// An IPv6 address stays deprecated, and is marked by `noprefixroute` when the move is complete. Clients do not notice; but
/// connections that the server itself opens, to a database for one, come from its own address then. From
/// the one that moves, the next move would cut them, on the server that is kept for the way back.
///
/// The service listens on all addresses, or the servers have `net.ipv4.ip_nonlocal_bind=1`. They need `sh`, `ip`, `python3`
/// (which announces) and, for [`Lingering::Reset`], `ss`. A third machine that has the address is not seen.
///
/// # A server that reboots, or is gone
///
/// Neither server may set the address up at boot: it may have moved while the server was down. So **a live server that
/// reboots comes back without the address, and nobody has it** until a deployer gives it back, which `restore` does: to the
/// slot that was live last, if that is healthy. Have it run after a boot: by a systemd unit or `@reboot` in a crontab where
/// the deploy tool is on the server itself, otherwise by what watches the public address.
///
/// For a move both servers must be reachable: an address that could still be on a server that nobody reaches is left there.
/// If that server is gone for good, switch it off, so that it cannot come back with the address, and give the address to the
/// other one by hand: `ip address add ADDRESS/32 dev eth0` (`/128` for IPv6). Neighbours notice within a minute, and at once
/// by `arping -U -c 5 -I eth0 ADDRESS` (IPv4).
///
/// # Whose it is
///
/// The first move of a pipeline marks the address as the service's on each server where it changes something, by a file with
/// the service's name (see [`VipServer::marks_in`]). From then on another service is refused, also when it only looks. The
/// marks are read and written by the commands that look and move; none is run for them alone in a shift. To give the address to
/// another service, remove the file on both servers.
///
/// # Example
///
/// ```
/// use bluegreen_core::LocalHost;
/// use bluegreen_floatingip::{FloatingIpRouter, HostVip, Lingering, VipServer};
///
/// // Two hosts over SSH, in real life.
/// let blue = VipServer::new(LocalHost::new(), "eth0")?;
/// let green = VipServer::new(LocalHost::new(), "eth0")?;
/// let vip = HostVip::new([192, 0, 2, 100].into(), (blue, green), Lingering::Reset)?.sudo(true);
/// let router = FloatingIpRouter::new(vip);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug)]
pub struct HostVip {
    address: IpAddr,
    servers: PerSlot<VipServer>,
    lingering: Lingering,
    sudo: bool,
    ownership: Ownership,
    /// The mark was read: nobody changes it.
    ours: AtomicBool,
}

impl HostVip {
    /// The address, its two servers, and what becomes of open connections. Nothing is touched yet.
    ///
    /// # Errors
    /// `Config` for an address that cannot be moved: a loopback, link-local, multicast or unspecified one.
    pub fn new(address: IpAddr, servers: impl Into<PerSlot<VipServer>>, lingering: Lingering) -> Result<Self> {
        let local = match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local() || address.to_ipv4_mapped().is_some(),
        };
        if local || address.is_loopback() || address.is_multicast() || address.is_unspecified() {
            return Err(Error::config(format!("{address} cannot be moved between servers")));
        }
        let (ownership, ours) = (Ownership::new(), AtomicBool::new(false));
        Ok(Self { address, servers: servers.into(), lingering, sudo: false, ownership, ours })
    }

    /// Has what changes something run as root by `sudo -n`, for hosts where one does not log in as root.
    ///
    /// It is a shell script that runs there, as `sudo -n -- sh -c SCRIPT ...`, not `ip` alone. So sudo has to allow the
    /// account `sh` without a password, and an account that may run `sh` as root may do everything as root:
    ///
    /// ```text
    /// deploy ALL=(root) NOPASSWD: /bin/sh
    /// ```
    ///
    /// A rule for `ip` and `ss` is not enough: the check before a move says so then, and nothing is moved.
    #[must_use]
    pub fn sudo(mut self, sudo: bool) -> Self {
        self.sudo = sudo;
        self
    }

    async fn run(&self, slot: Slot, purpose: Purpose) -> Result<Report> {
        let server = &self.servers[slot];
        let run = script::run(server, self.address, &self.ownership, purpose, self.sudo);
        run.await.map_err(|error| error.with("slot", slot).with("host", &server.host))
    }

    async fn look(&self) -> Result<(State, State)> {
        let look = |slot| self.run(slot, Purpose::Look);
        let (blue, green) = tokio::try_join!(look(Slot::Blue), look(Slot::Green)).map_err(Error::not_applied)?;
        self.ours.store(blue.ours || green.ours, Ordering::Relaxed);
        Ok((blue.state, green.state))
    }
}

impl fmt::Display for HostVip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} or {}", self.address, self.servers.blue.host, self.servers.green.host)
    }
}

/// Who has the address, by what the two servers say.
fn judge(blue: State, green: State) -> Observed {
    let unfinished =
        |slot, why: &str| Observed { holder: Holder::Slot(slot), transition: Transition::Unfinished(why.to_owned()) };
    let both = "the old server still has the address";
    let alone = "the server has the address, and was not told that the move is complete";
    match (blue, green) {
        (State::Absent, State::Absent) => Observed::settled(Holder::Nobody),
        (State::Held, State::Absent) => Observed::settled(Holder::Slot(Slot::Blue)),
        (State::Absent, State::Held) => Observed::settled(Holder::Slot(Slot::Green)),
        (State::Candidate, State::Absent) => unfinished(Slot::Blue, alone),
        (State::Absent, State::Candidate) => unfinished(Slot::Green, alone),
        // The candidate was announced last.
        (State::Candidate, State::Held) => unfinished(Slot::Blue, both),
        (State::Held, State::Candidate) => unfinished(Slot::Green, both),
        (State::Held, State::Held) | (State::Candidate, State::Candidate) => Observed::settled(Holder::Both),
    }
}

#[async_trait]
impl AddressProvider for HostVip {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)
    }

    async fn verify(&self) -> Result<()> {
        if self.ownership.service().is_some() && !self.ours.load(Ordering::Relaxed) {
            self.look().await?;
        }
        Ok(())
    }

    async fn observe(&self) -> Result<Observed> {
        let (blue, green) = self.look().await?;
        Ok(judge(blue, green))
    }

    async fn preflight(&self, _to: Slot) -> Result<()> {
        let check = |slot| self.run(slot, Purpose::Check(self.lingering));
        tokio::try_join!(check(Slot::Blue), check(Slot::Green)).map_err(Error::not_applied)?;
        Ok(())
    }

    async fn assign(&self, to: Slot) -> Result<Assigned> {
        let old = to.other();
        let (blue, green) = self.look().await?;
        if judge(blue, green).holder == Holder::Both {
            let message = format!("both servers have {}, and neither as a candidate", self.address);
            return Err(Error::new(ErrorKind::Conflict, message).not_applied());
        }
        let (here, there) = if to == Slot::Blue { (blue, green) } else { (green, blue) };
        // Two candidates could not be told apart.
        if (here, there) == (State::Absent, State::Candidate) {
            self.run(old, Purpose::Confirm).await?;
        }
        if (here, there) != (State::Held, State::Absent) {
            self.run(to, Purpose::Take).await?;
        }
        if there != State::Absent {
            self.run(old, Purpose::Release(self.lingering)).await.map_err(|error| {
                error.maybe_applied().with_hint(format!(
                    "traffic goes to {to}, and {old} may still have the address: moving it again, to either, completes it"
                ))
            })?;
        }
        self.run(to, Purpose::Confirm).await.map_err(Error::maybe_applied)?;
        Ok(Assigned::Done)
    }

    /// A move is over when [`assign`](Self::assign) returns.
    async fn poll(&self, _action: &ActionId) -> Result<ActionState> {
        Ok(ActionState::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_moved_are_refused() {
        let server = || VipServer::new(bluegreen_core::LocalHost::new(), "eth0").unwrap();
        let vip = |address: &str| HostVip::new(address.parse().unwrap(), (server(), server()), Lingering::Leave);
        for bad in
            ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.0.1", "::1", "::", "ff02::1", "fe80::1", "::ffff:1.2.3.4"]
        {
            assert!(vip(bad).is_err(), "{bad}");
        }
        assert!(vip("192.0.2.100").is_ok() && vip("2001:db8::100").is_ok());
    }

    #[test]
    fn an_address_on_one_server_or_none_is_settled_and_a_candidate_is_where_the_traffic_goes() {
        use State::{Absent, Candidate, Held};
        assert_eq!(judge(Absent, Absent), Observed::settled(Holder::Nobody));
        assert_eq!(judge(Held, Absent), Observed::settled(Holder::Slot(Slot::Blue)));
        assert_eq!(judge(Held, Held).holder, Holder::Both);
        for (blue, green, slot) in [
            (Held, Candidate, Slot::Green),
            (Absent, Candidate, Slot::Green),
            (Candidate, Held, Slot::Blue),
            (Candidate, Absent, Slot::Blue),
        ] {
            let seen = judge(blue, green);
            assert_eq!(seen.holder, Holder::Slot(slot));
            assert!(matches!(seen.transition, Transition::Unfinished(_)), "{seen:?}");
        }
    }
}
