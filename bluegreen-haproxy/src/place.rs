//! [`Place`]: where a server leads to, and whether its slot uses it.

use std::net::SocketAddr;

use bluegreen_core::{Error, ErrorKind, Result, Slot};
use serde::{Deserialize, Serialize};

use crate::seen::Seen;

/// The port of a server that leads nowhere yet.
pub(crate) const NOWHERE: u16 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) server: String,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_used: bool,
}

/// What the servers of a slot are now.
pub(crate) fn places_of(seen: &Seen, slot: Slot) -> Vec<Place> {
    let place = |server: &crate::server::Server| Place {
        server: server.name.to_string(),
        address: server.address(),
        is_used: server.is_attached(),
    };
    seen.of(slot).map(place).collect()
}

/// What the servers of a slot are to be for these addresses. A server that leads to one of them stays as it is.
///
/// # Errors
/// `Config` when there are more addresses than servers, or none at all.
pub(crate) fn assign(seen: &Seen, slot: Slot, addresses: &[SocketAddr]) -> Result<Vec<Place>> {
    let mut places = places_of(seen, slot);
    if addresses.is_empty() {
        return without_addresses(places, slot);
    }
    if addresses.len() > places.len() {
        let what = format!("{slot} has {} endpoints, and the backend {} servers for it", addresses.len(), places.len());
        return Err(
            Error::config(what).with_hint("add servers for this slot to HAProxy's configuration, and reload it")
        );
    }
    let mut left: Vec<_> = addresses.to_vec();
    for place in &mut places {
        let here = left.iter().position(|address| Some(*address) == place.address);
        place.is_used = here.map(|at| left.remove(at)).is_some();
    }
    // Those that lead nowhere come first, in their order; they have no traffic.
    for place in places.iter_mut().filter(|place| !place.is_used) {
        if left.is_empty() {
            break;
        }
        (place.address, place.is_used) = (Some(left.remove(0)), true);
    }
    Ok(places)
}

/// For an instance that reports no endpoint: the configuration says where the slot is.
fn without_addresses(mut places: Vec<Place>, slot: Slot) -> Result<Vec<Place>> {
    if places.iter().any(|place| place.is_used) {
        return Ok(places);
    }
    for place in &mut places {
        place.is_used = place.address.is_some_and(|address| address.port() != NOWHERE);
    }
    match places.iter().any(|place| place.is_used) {
        true => Ok(places),
        false => Err(Error::new(
            ErrorKind::Config,
            format!("the instance in {slot} reports no endpoint, and the servers for {slot} lead nowhere"),
        )
        .with_hint("let the runtime report its endpoints, or write the addresses into HAProxy's configuration")),
    }
}
