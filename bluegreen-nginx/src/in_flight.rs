//! The connections from nginx to a slot, from the host's own table.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bluegreen_core::host::Script;
use bluegreen_core::{Result, Slot};

use crate::server::Server;
use crate::slot_addresses::SlotAddresses;

/// How many connections nginx has to the addresses of a slot, by the site at `path`. `None` when one of them is a name,
/// which stands for whatever address nginx found for it, and when nobody says what they are.
///
/// Counted are the established connections of nginx's own workers, old ones that finish their requests included. Where
/// their sockets cannot be seen (not as another user than root), it is all connections from this host to the addresses.
pub(crate) async fn in_flight(server: &Server, path: &str, slot: Slot) -> Result<Option<u64>> {
    // Where the configuration says what the site most likely does, that is counted while the site is read.
    let likely = pattern(server.config.slots.of(slot));
    let count_likely = async {
        match &likely {
            Some(pattern) => count(server, pattern).await.map(Some),
            None => Ok(None),
        }
    };
    let (site, counted) = tokio::join!(server.owned_look(server.site(path)), count_likely);
    let site = site?;
    let known = server.known(site.as_deref());
    let addresses = known.of(slot);
    if addresses.is_empty() {
        // A file of the user's own, or one that was damaged, does not say that nothing listens.
        let is_silent =
            server.config.own_files || site.as_deref().is_some_and(|text| SlotAddresses::in_site(text).is_none());
        return Ok((!is_silent).then_some(0));
    }
    match pattern(addresses) {
        Some(pattern) if Some(&pattern) == likely.as_ref() => counted,
        Some(pattern) => count(server, &pattern).await.map(Some),
        None => Ok(None),
    }
}

/// What the connections to these addresses look like in the table; `None` where there are none, or one of them is a name.
fn pattern(addresses: &[String]) -> Option<String> {
    let addresses: Option<Vec<_>> = addresses.iter().map(|address| parse(address)).collect();
    let forms: Vec<_> = addresses?.into_iter().flatten().flat_map(table_forms).collect();
    (!forms.is_empty()).then(|| format!("^ *[0-9]+: [0-9A-F]+:[0-9A-F]+ ({}) 01 ", forms.join("|")))
}

async fn count(server: &Server, pattern: &str) -> Result<u64> {
    let script = Script::new("count what is in flight", include_str!("scripts/in_flight.sh")).read_only();
    let reply = server.run(script.args([&*server.config.layout.pid_file, pattern])).await?;
    let sockets: BTreeSet<_> = reply.all("socket").collect();
    let hidden = reply.all("sockets").any(|word| word == "unknown");
    let rows = reply.all("tcp").filter_map(|row| row.split_whitespace().nth(INODE));
    // The kernel writes the table while it changes, and may list a connection twice.
    let connections: BTreeSet<_> = rows.filter(|inode| hidden || sockets.contains(inode)).collect();
    Ok(connections.len() as u64)
}

/// The word of a row of `/proc/net/tcp` that is the socket's inode.
const INODE: usize = 9;

fn parse(address: &str) -> Option<Vec<SocketAddr>> {
    match address.strip_prefix("localhost:") {
        Some(port) => {
            let port = port.parse().ok()?;
            Some(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        None => Some(vec![address.parse().ok()?]),
    }
}

/// An address as `/proc/net/tcp` and `tcp6` write it on a little-endian machine: 32-bit words, each byte-swapped.
fn table_forms(address: SocketAddr) -> Vec<String> {
    let port = format!("{:04X}", address.port());
    let words = |bytes: &[u8]| {
        bytes.chunks(4).flat_map(|word| word.iter().rev()).map(|byte| format!("{byte:02X}")).collect::<String>()
    };
    match address.ip() {
        IpAddr::V4(ip) => {
            let mapped = words(&ip.to_ipv6_mapped().octets());
            vec![format!("{}:{port}", words(&ip.octets())), format!("{mapped}:{port}")]
        }
        IpAddr::V6(ip) => vec![format!("{}:{port}", words(&ip.octets()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_kernel_writes_them() {
        let forms = |text: &str| table_forms(text.parse().unwrap());
        assert_eq!(forms("127.0.0.1:8080"), ["0100007F:1F90", "0000000000000000FFFF00000100007F:1F90"]);
        assert_eq!(forms("[::1]:80"), ["00000000000000000000000001000000:0050"]);
        assert_eq!(parse("localhost:80").unwrap().len(), 2);
        assert_eq!(parse("app.internal:80"), None);
    }
}
