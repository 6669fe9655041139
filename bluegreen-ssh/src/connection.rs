//! One authenticated connection, with the channels on it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind};
use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_io_timeout::TimeoutStream;

use crate::addresses;
use crate::auth;
use crate::failure::Failure;
use crate::host_key;
use crate::kill_queue::KillQueue;
use crate::settings::Settings;
use crate::socket::Socket;
use crate::taking_in::TakingIn;
use crate::verifier::Verifier;
use crate::waiting_shell::WaitingShell;

/// An open connection. It closes when the last owner, channels included, is gone.
pub(crate) struct Connection {
    handle: Handle<Verifier>,
    /// The connection that this one runs through.
    _jump: Option<Box<Connection>>,
    ending: Ending,
    max_sessions: usize,
    sessions: Arc<Semaphore>,
    released: Arc<Notify>,
    spare: Mutex<Spare>,
    /// Told whenever one that was being opened in advance is there, or was refused.
    prepared: Notify,
    /// The processes that wait to be ended.
    pub(crate) kills: KillQueue,
    /// How many processes that nobody waits for any more are still being ended.
    dropped: watch::Sender<usize>,
    settings: Settings,
}

/// Shells started in advance, which save the next commands all round trips but their own.
#[derive(Default)]
struct Spare {
    shells: Vec<WaitingShell>,
    preparing: usize,
    /// How often in a row the server did not allow it. A server that never does is not asked for ever.
    refusals: u32,
}

impl Spare {
    /// How many there are, or will be in a moment.
    fn count(&self) -> usize {
        self.shells.len() + self.preparing
    }

    /// Opens none any more, as the server closes those that are not used.
    fn distrust(&mut self) {
        self.refusals = MAX_REFUSALS;
        self.shells.drain(..).for_each(WaitingShell::close);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ending", &self.ending).finish_non_exhaustive()
    }
}

/// How a script gets to the server.
pub(crate) enum Way {
    /// A channel on which nothing was asked for yet.
    Fresh(Channel<Msg>),
    /// A shell that waits for it.
    Waiting(WaitingShell),
}

/// A process that is being ended, as long as this lives.
pub(crate) struct Dropped(watch::Sender<usize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Frees a session's place when it is dropped; the channel must be closed by then.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    released: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.released.notify_one();
    }
}

impl Connection {
    /// Connects, checks the host key, and authenticates; through the jump hosts first, where there are any.
    ///
    /// # Errors
    /// Nothing has been done on the server then: the effect is `NotApplied`.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Error> {
        let open = async {
            match tokio::time::timeout(settings.connect_timeout, Self::handshake(settings)).await {
                Ok(result) => result,
                Err(_) => Err(Failure::ConnectTimeout(settings.connect_timeout)),
            }
        };
        open.await
            .map_err(|failure| Error::from(failure).not_applied().with_operation("connect").with("host", settings))
    }

    async fn handshake(settings: &Settings) -> Result<Self, Failure> {
        let jump = match &settings.jump {
            // Boxed: one hop leads to the next.
            Some(jump) => Some(Box::new(Box::pin(Self::open(jump)).await.map_err(Failure::Refused)?)),
            None => None,
        };
        let stream: Box<dyn Stream> = match &jump {
            Some(jump) => match jump.direct(&settings.host, settings.port).await {
                Ok(channel) => Box::new(TakingIn::new(channel.into_stream())),
                Err(failure) => return Err(at_the_jump(failure, jump.settings(), settings)),
            },
            None => {
                let stream = addresses::connect(&settings.host, settings.port).await.map_err(russh::Error::IO)?;
                Box::new(Socket::new(stream).map_err(russh::Error::IO)?)
            }
        };
        let (keys, certificates) = settings.host_key.algorithms().map_err(Failure::Refused)?;
        let config = client::Config {
            preferred: host_key::preferred(keys, certificates),
            keepalive_interval: Some(settings.keepalive.interval),
            keepalive_max: settings.keepalive.max,
            nodelay: true,
            ..client::Config::default()
        };
        let (reason, ending) = watch::channel(None);
        let verifier = Verifier { check: settings.host_key.clone(), reason };
        let ending = Ending(ending);
        // Keepalives are not sent while a write waits, so a peer that stops reading is noticed here.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(settings.keepalive.patience()));
        let connected = client::connect_stream(Arc::new(config), Box::pin(stream), verifier).await;
        let mut handle =
            connected.map_err(|failure| if failure.is_cut_off() { Failure::Unwelcome } else { failure })?;
        if let Err(failure) = auth::authenticate(&mut handle, settings).await {
            return Err(match failure {
                Failure::Refused(error) if handle.is_closed() => {
                    Failure::Refused(error.with("the connection's end", ending.reason().await))
                }
                failure => ending.explain(failure).await,
            });
        }
        tracing::debug!(host = %settings, "connected");
        let max_sessions = settings.max_sessions.max(1);
        Ok(Self {
            handle,
            _jump: jump,
            ending,
            max_sessions,
            sessions: Arc::new(Semaphore::new(max_sessions)),
            released: Arc::default(),
            spare: Mutex::default(),
            prepared: Notify::new(),
            kills: KillQueue::default(),
            dropped: watch::Sender::default(),
            settings: settings.clone(),
        })
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The failure to report when the connection is gone, with the reason where one is known.
    pub(crate) async fn lost(&self) -> Failure {
        Failure::Lost(self.ending.reason().await)
    }

    /// How this connection was made.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long a login shell may take until it runs what it is asked to.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.connect_timeout
    }

    /// Notes that a process is being ended.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped.send_modify(|count| *count += 1);
        Dropped(self.dropped.clone())
    }

    /// Waits until all processes have ended that nobody waits for any more.
    pub(crate) async fn dropped_have_ended(&self) {
        // The sender is ours, so this does not fail.
        let _ = self.dropped.subscribe().wait_for(|count| *count == 0).await;
    }

    /// The way for one script, and its place among the sessions that the server allows. Waits while as many as that are in use.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<(Way, Place), Failure> {
        let place = self.place().await?;
        loop {
            if let Some(mut shell) = self.take_spare() {
                if shell.is_open() {
                    return Ok((Way::Waiting(shell), place));
                }
                self.lock_spare().distrust();
            }
            if let Some(channel) = self.open_within_the_limit().await? {
                return Ok((Way::Fresh(channel), place));
            }
        }
    }

    /// A session channel on which nothing was asked for yet.
    pub(crate) async fn fresh_session(self: &Arc<Self>) -> Result<(Channel<Msg>, Place), Failure> {
        let place = self.place().await?;
        loop {
            self.take_spare().into_iter().for_each(WaitingShell::close);
            if let Some(channel) = self.open_within_the_limit().await? {
                return Ok((channel, place));
            }
        }
    }

    async fn place(&self) -> Result<Place, Failure> {
        let permit = match Arc::clone(&self.sessions).acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => return Err(self.lost().await),
        };
        Ok(Place { _permit: permit, released: Arc::clone(&self.released) })
    }

    /// A session channel; `None` when one of those that were opened in advance is there now.
    async fn open_within_the_limit(self: &Arc<Self>) -> Result<Option<Channel<Msg>>, Failure> {
        let mut refusals = 0;
        loop {
            let prepared = self.prepared.notified();
            let (some_are_there, some_will_be) = {
                let spare = self.lock_spare();
                (!spare.shells.is_empty(), spare.preparing > 0)
            };
            if some_are_there {
                return Ok(None);
            }
            if some_will_be {
                // It is there sooner than one that is only begun now, and takes the same place at the server.
                prepared.await;
                return Ok(None);
            }
            let alone = !self.others_in_use();
            match self.open_channel().await {
                Ok(channel) => return Ok(Some(channel)),
                Err(Failure::Protocol(russh::Error::ChannelOpenFailure(reason))) => {
                    // The server allows less than we do: one of ours must end first. Alone, it may be the one that is
                    // being opened in advance that is in the way, so that counts only when it happens again.
                    refusals = if alone { refusals + 1 } else { 0 };
                    if refusals == MAX_REFUSALS {
                        return Err(Failure::Refused(no_session(&reason)));
                    }
                    let _ = tokio::time::timeout(RETRY_SESSION, self.released.notified()).await;
                    if !self.lock_spare().shells.is_empty() {
                        return Ok(None);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A session channel instead of one that the server has closed before it was used. None are opened in advance any more.
    pub(crate) async fn replace_closed(self: &Arc<Self>) -> Result<Channel<Msg>, Failure> {
        self.lock_spare().distrust();
        self.open_channel().await
    }

    /// A session channel beyond the limit, to end what runs in another one.
    pub(crate) async fn extra_session(self: &Arc<Self>) -> Result<Way, Failure> {
        match self.take_spare() {
            Some(shell) => Ok(Way::Waiting(shell)),
            None => self.open_channel().await.map(Way::Fresh),
        }
    }

    /// A channel to an address as seen from the server.
    pub(crate) async fn direct(&self, host: &str, port: u16) -> Result<Channel<Msg>, Failure> {
        match self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await {
            Ok(channel) => Ok(channel),
            Err(error) => Err(self.ending.explain(Failure::Protocol(error)).await),
        }
    }

    /// A channel to a socket in the server's file system.
    pub(crate) async fn direct_to_socket(&self, path: &str) -> Result<Channel<Msg>, Failure> {
        match self.handle.channel_open_direct_streamlocal(path).await {
            Ok(channel) => Ok(channel),
            Err(error) => Err(self.ending.explain(Failure::Protocol(error)).await),
        }
    }

    fn others_in_use(&self) -> bool {
        // One is the caller's own.
        self.in_use() > 1
    }

    fn in_use(&self) -> usize {
        self.max_sessions.saturating_sub(self.sessions.available_permits())
    }

    /// How many session channels there may be in all: one more than may be in use.
    fn allowed(&self) -> usize {
        self.max_sessions + 1
    }

    /// In a task of its own: a channel that is opened for a caller who has gone must still be closed, or it would hold
    /// one of the server's sessions for ever.
    async fn open_channel(self: &Arc<Self>) -> Result<Channel<Msg>, Failure> {
        let (sender, receiver) = oneshot::channel();
        let connection = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = sender.send(connection.handle.channel_open_session().await) {
                let _ = unwanted.close().await;
            }
        });
        match receiver.await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(self.ending.explain(Failure::Protocol(error)).await),
            Err(_) => Err(self.lost().await),
        }
    }

    /// Starts shells in advance: as many as callers that work side by side take at once, within what the server allows.
    /// None where only one is allowed.
    pub(crate) fn prepare_spare(self: &Arc<Self>) {
        let missing = {
            let mut spare = self.lock_spare();
            if spare.refusals >= MAX_REFUSALS || self.max_sessions == 1 {
                return;
            }
            let wanted = SPARES.min(self.allowed().saturating_sub(self.in_use()));
            let missing = wanted.saturating_sub(spare.count());
            spare.preparing += missing;
            missing
        };
        for _ in 0..missing {
            let connection = Arc::clone(self);
            tokio::spawn(async move {
                let started = match connection.open_channel().await {
                    Ok(channel) => WaitingShell::start(channel, connection.patience()).await,
                    Err(_) => None,
                };
                {
                    let mut spare = connection.lock_spare();
                    spare.preparing -= 1;
                    match started {
                        Some(shell) => {
                            spare.shells.push(shell);
                            if spare.refusals < MAX_REFUSALS {
                                spare.refusals = 0;
                            }
                        }
                        None => spare.refusals += 1,
                    }
                }
                connection.prepared.notify_waiters();
            });
        }
    }

    /// The one that was started first, which is the most likely to wait already.
    fn take_spare(&self) -> Option<WaitingShell> {
        let mut spare = self.lock_spare();
        (!spare.shells.is_empty()).then(|| spare.shells.remove(0))
    }

    fn lock_spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RETRY_SESSION: Duration = Duration::from_millis(100);
const MAX_REFUSALS: u32 = 3;
const SPARES: usize = 5;

/// Why a jump host did not lead on.
fn at_the_jump(failure: Failure, jump: &Settings, to: &Settings) -> Failure {
    let Failure::Protocol(russh::Error::ChannelOpenFailure(reason)) = &failure else { return failure };
    let advice = match reason {
        ChannelOpenFailure::AdministrativelyProhibited => {
            "does the jump host's sshd_config allow it (AllowTcpForwarding, PermitOpen), and the key's options there?"
        }
        _ => "is the address right as seen from the jump host, and does a server listen there?",
    };
    let error = Error::new(ErrorKind::Unreachable, format!("the jump host did not connect to it ({reason:?})"));
    Failure::Refused(error.not_applied().with("jump host", jump).with("address", to).with_hint(advice))
}

fn no_session(reason: &ChannelOpenFailure) -> Error {
    Error::new(ErrorKind::Unauthorized, format!("the server opened no session ({reason:?})"))
        .not_applied()
        .with_hint("is the account allowed to run commands, and MaxSessions in sshd_config above 0?")
}

/// Why a connection ended, as soon as it is known.
#[derive(Debug)]
struct Ending(watch::Receiver<Option<String>>);

impl Ending {
    async fn reason(&self) -> String {
        // The reason comes a moment after the channels have noticed.
        let mut ending = self.0.clone();
        let known = tokio::time::timeout(Duration::from_millis(500), ending.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(reason)) => reason.clone().unwrap_or_default(),
            _ => "no reason was given".to_owned(),
        }
    }

    async fn explain(&self, failure: Failure) -> Failure {
        if failure.is_lost() { Failure::Lost(self.reason().await) } else { failure }
    }
}

/// What a connection can run over: a socket, or a channel of another connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}
