//! [`CloseOnDrop`]: a channel that is closed when nobody uses it any more.

use std::sync::Arc;

use russh::ChannelWriteHalf;
use russh::client::Msg;

/// Closes a channel that is given up: one that is only dropped would hold one of the server's sessions for ever.
pub(crate) struct CloseOnDrop(pub(crate) Arc<ChannelWriteHalf<Msg>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let channel = Arc::clone(&self.0);
            // One that is closed already stays so.
            runtime.spawn(async move { channel.close().await });
        }
    }
}
