//! A shell on the server that was started before it is needed.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use crate::connection::CloseOnDrop;
use crate::marker::Marker;
use crate::script;

/// A shell that waits for its script, so that running one is one round trip: the script, its input and its environment go to it
/// together.
pub(crate) struct WaitingShell {
    pub(crate) channel: Channel<Msg>,
    /// What its lines begin with.
    pub(crate) marker: Marker,
    /// What came from the server and was not looked at yet.
    pub(crate) early: VecDeque<ChannelMsg>,
}

impl WaitingShell {
    /// Asks the server to start one on this channel. That it has is not waited for.
    pub(crate) async fn start(channel: Channel<Msg>) -> Result<Self, russh::Error> {
        let marker = Marker::new();
        channel.exec(true, script::waiting(&marker)).await?;
        Ok(Self { channel, marker, early: VecDeque::new() })
    }

    /// Whether the server runs it still, as far as is known.
    pub(crate) fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match pin!(self.channel.wait()).poll(&mut context) {
                Poll::Pending => return true,
                Poll::Ready(Some(ChannelMsg::Eof | ChannelMsg::Close | ChannelMsg::Failure) | None) => return false,
                Poll::Ready(Some(message)) => self.early.push_back(message),
            }
        }
    }

    /// Has the server end it.
    pub(crate) fn close(self) {
        drop(CloseOnDrop(Arc::new(self.channel.split().1)));
    }
}
