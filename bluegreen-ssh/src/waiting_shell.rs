//! A shell on the server that was started before it is needed.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use crate::beginning::Beginning;
use crate::close_on_drop::CloseOnDrop;
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
    /// Has the server start one on this channel; `None` when it does not get to where it waits.
    pub(crate) async fn start(channel: Channel<Msg>, patience: Duration) -> Option<Self> {
        let marker = Marker::new();
        let mut shell = Self { channel, marker, early: VecDeque::new() };
        let ready = tokio::time::timeout(patience, shell.is_ready()).await;
        if ready == Ok(true) {
            return Some(shell);
        }
        shell.close();
        None
    }

    async fn is_ready(&mut self) -> bool {
        let mut stderr = Beginning::new(&self.marker);
        if self.channel.exec(true, script::waiting(&self.marker)).await.is_err() {
            return false;
        }
        while let Some(message) = self.channel.wait().await {
            match &message {
                ChannelMsg::Eof | ChannelMsg::Close | ChannelMsg::Failure => return false,
                ChannelMsg::ExtendedData { data, .. } => drop(stderr.pass(data.clone())),
                _ => {}
            }
            self.early.push_back(message);
            if stderr.pid().is_some() {
                return true;
            }
        }
        false
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
