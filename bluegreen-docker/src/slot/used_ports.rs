//! Which ports of the engine's machine are somebody else's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bluegreen_core::{Command, Host, Result};
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::container::{Container, services_of};
use super::group::Group;
use crate::engine::{Engine, quick};

/// TCP ports, with the addresses they are taken at.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    ports: Vec<(IpAddr, u16)>,
}

impl Taken {
    /// By others than the slot whose group this is and that has these containers: by the other slot, also while its
    /// containers are down, by other containers, and by whatever else listens.
    pub(crate) async fn by_others(engine: &Engine, group: &Group, own: &[Container], other: &Group) -> Result<Self> {
        let (published, other, listening) =
            futures::try_join!(published(engine, group), services_of(engine, other), listening(engine, own))?;
        let mut ports = published;
        ports.extend(other.iter().flat_map(Container::holds));
        ports.extend(listening);
        Ok(Self { ports })
    }

    pub(crate) fn add(&mut self, address: IpAddr, port: u16) {
        self.ports.push((address, port));
    }

    /// Whether nobody else can listen there.
    pub(crate) fn has(&self, address: IpAddr, port: u16) -> bool {
        let is_same = |taken: IpAddr| taken == address || taken.is_unspecified() || address.is_unspecified();
        self.ports.iter().any(|(taken, number)| *number == port && is_same(*taken))
    }
}

/// What the containers of others publish.
async fn published(engine: &Engine, group: &Group) -> Result<Vec<(IpAddr, u16)>> {
    let docker = engine.docker().await?;
    let options = ListContainersOptionsBuilder::default().build();
    let all = quick("list the ports of all containers", docker.list_containers(Some(options))).await;
    let all = all.map_err(|error| error.not_applied())?;
    let others = all.into_iter().filter(|container| !container.labels.as_ref().is_some_and(|labels| group.has(labels)));
    let ports = others.flat_map(|container| container.ports.unwrap_or_default()).filter_map(|port| {
        let address = port.ip.as_deref().and_then(|text| text.parse().ok());
        Some((address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port.public_port?))
    });
    Ok(ports.collect())
}

/// What listens on the engine's machine, but for these containers. Nothing where that cannot be read: the engine then
/// says what is taken when the containers start.
async fn listening(engine: &Engine, own: &[Container]) -> Result<Vec<(IpAddr, u16)>> {
    let server = engine.server().await?;
    let command = Command::script("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; true").output_limit(16 << 20);
    let own: Vec<u16> = own.iter().flat_map(Container::holds).map(|(_, port)| port).collect();
    let table = match server.run(&command).await {
        Ok(output) => output.text(),
        Err(error) => {
            tracing::debug!(error = %error.chain(), "not known what listens on the engine's machine");
            return Ok(Vec::new());
        }
    };
    Ok(table.lines().filter_map(listener).filter(|(_, port)| !own.contains(port)).collect())
}

/// A line of `/proc/net/tcp` or `/proc/net/tcp6`, where it is of a socket that listens.
fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let mut words = line.split_whitespace();
    let (local, state) = (words.nth(1)?, words.nth(1)?);
    if state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // Each group of four bytes is printed as one number of a little-endian machine.
    let group = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_le_bytes());
    let address = match address.len() {
        8 => IpAddr::from(group(0)?),
        32 => {
            let bytes: Vec<u8> = [group(0)?, group(8)?, group(16)?, group(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_of_sockets_is_understood() {
        let listens = "   0: 0100007F:0FA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1";
        assert_eq!(listener(listens), Some(("127.0.0.1".parse().unwrap(), 4001)));
        assert_eq!(listener(&listens.replace(" 0A ", " 01 ")), None);
        let sixth = |address: &str| listener(&listens.replace("0100007F:", &format!("{address}:")));
        assert_eq!(sixth("00000000000000000000000001000000"), Some(("::1".parse().unwrap(), 4001)));
        assert_eq!(sixth("0000000000000000FFFF00000100007F"), Some(("127.0.0.1".parse().unwrap(), 4001)));
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"), None);
    }

    #[test]
    fn a_port_is_taken_at_its_address_and_where_either_is_for_all_of_them() {
        let mut taken = Taken::default();
        taken.add("127.0.0.1".parse().unwrap(), 1);
        taken.add("0.0.0.0".parse().unwrap(), 2);
        let has = |address: &str, port| taken.has(address.parse().unwrap(), port);
        assert!(has("127.0.0.1", 1) && has("0.0.0.0", 1) && has("127.0.0.1", 2));
        assert!(!has("127.0.0.2", 1) && !has("::1", 1) && !has("127.0.0.1", 3));
    }
}
