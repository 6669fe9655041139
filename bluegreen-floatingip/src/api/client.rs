use std::time::Duration;

use bluegreen_core::Result;
use bluegreen_http_client::{Client, Url, is_this_machine};

/// To connect, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Shorter than any server keeps an idle connection: a POST must not meet one that is just being closed, since nobody
/// could tell then whether it arrived.
const IDLE: Duration = Duration::from_secs(5);

/// Follows no redirect, which might lead the token astray, and repeats nothing by itself.
pub(crate) fn client_for(url: &Url) -> Result<Client> {
    let builder = Client::builder().connect_timeout(CONNECT_LIMIT).keep_idle(IDLE);
    let builder = if is_this_machine(url) { builder.direct() } else { builder };
    // Without the system's certificates where they are not needed: a bare container may not have them.
    builder.https(url.scheme() != "http").build()
}
