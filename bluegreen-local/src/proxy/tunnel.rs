//! A connection that has switched protocols: bytes are passed on in both directions until both sides are done.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::forward::Connection;
use super::routing::Claim;

/// Connects client and slot. The request is in flight until the connection closes, or is cut.
pub(super) async fn tunnel(client: OnUpgrade, slot: OnUpgrade, claim: Claim, connection: Arc<Connection>) {
    let connect = async {
        let (client, slot) = match tokio::try_join!(client, slot) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "a switch of protocols was broken off"),
        };
        let (mut client, mut slot) = (TokioIo::new(client), TokioIo::new(slot));
        // That either side just goes away is how such connections commonly end.
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut slot).await {
            tracing::debug!(%error, "a tunnel ended");
        }
    };
    tokio::select! {
        () = connect => {}
        () = connection.cut.cancelled() => {}
    }
    drop(claim);
}
