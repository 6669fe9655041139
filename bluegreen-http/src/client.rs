use std::sync::OnceLock;

use bluegreen_core::Result;
use bluegreen_http_client::{Client, Url, is_this_machine};

/// The client for an address: never through a proxy to an instance's endpoint or to this machine, else as the
/// environment's proxy variables say. Each request gets a connection of its own.
pub(crate) fn client_for(url: &Url, endpoint: bool) -> Result<Client> {
    static PLAIN: OnceLock<Client> = OnceLock::new();
    static DIRECT: OnceLock<Client> = OnceLock::new();
    static PROXIED: OnceLock<Client> = OnceLock::new();

    let direct = endpoint || is_this_machine(url);
    match (direct, url.scheme()) {
        // Without the system's certificates, which a bare container may not have.
        (true, "http") => kept(&PLAIN, || Client::builder().direct().https(false).build()),
        (true, _) => kept(&DIRECT, || Client::builder().direct().build()),
        (false, _) => kept(&PROXIED, || Client::builder().build()),
    }
}

fn kept(cell: &OnceLock<Client>, make: impl FnOnce() -> Result<Client>) -> Result<Client> {
    match cell.get() {
        Some(client) => Ok(client.clone()),
        None => {
            let client = make()?;
            Ok(cell.get_or_init(|| client).clone())
        }
    }
}
