//! One request to its slot, and one answer back.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use bluegreen_core::VERSION_HEADER;

use super::alarm::Alarm;
use super::backend::SlotConnection;
use super::client::{Client, LINGER, LINGER_SILENCE};
use super::failure::{Failure, Refusal, is_failure, is_our_lack};
use super::http1::{self, Asked, Body, Encoding, Head, Kind, Length};
use super::pace::{Pace, Waiting};
use super::relay::{Broken, Source, gather, relay};
use super::routing::Claim;
use super::tunnel::tunnel;
use super::upload::{Happened, Upload, can_be_discarded};

/// The longest head of an answer, and what is read of it in one go.
const LONGEST_ANSWER_HEAD: usize = 64 << 10;
const ROOM: usize = 4 << 10;

/// How long a client that has its answer, and whose connection is to be closed, may pause in the rest of its request.
const REST_LIMIT: Duration = Duration::from_secs(1);

/// How long an answer is waited for from a slot that does not take the rest of a request: it has been sent before, or
/// never will be.
const EARLY_ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Keep,
    /// Close it, but read on for a while.
    Linger,
    /// Close it without a word.
    Cut,
}

/// A request, and who sent it.
#[derive(Debug)]
pub(super) struct Exchange<'c, R, W> {
    pub(super) client: &'c mut Client<R, W>,
    pub(super) head: Head,
    pub(super) claim: Claim,
}

/// Why there was no answer of the slot.
enum Unanswered {
    /// The slot's fault.
    Slot(Failure),
    /// A kept connection had ended before anything came back. It may have been closed before the request came.
    HadEnded,
    /// The client's fault.
    Client(Refusal),
    /// The client has gone.
    Gone,
}

/// What has been passed on.
enum Transferred {
    Answer {
        end: End,
        reusable: bool,
    },
    /// Nothing yet: this is the head with which the protocols are switched.
    Switch {
        out: Vec<u8>,
    },
}

impl Transferred {
    const CUT: Self = Self::Answer { end: End::Cut, reusable: false };
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Exchange<'_, R, W> {
    /// `out` is the head for the slot.
    pub(super) async fn run(mut self, mut out: Vec<u8>) -> End {
        let Head { length, expects_continue, .. } = self.head;
        let (mut body, encoding) = (Body::new(length), encoding(length));
        if expects_continue
            && !body.has_ended()
            && self.client.buffer.is_empty()
            && self.client.tell(http1::interim_continue()).await.is_err()
        {
            return End::Cut;
        }
        let mut after = Vec::new();
        let ended = match gather(&mut body, &mut self.client.buffer, encoding, &mut after, &mut out) {
            Ok(ended) => ended,
            Err(_) => return self.refuse(&malformed_body()).await,
        };
        self.send(Upload { body, encoding, out, ended, after }).await
    }

    /// Sends the request. A connection that was kept can have been closed by the slot in the meantime, and that must
    /// not fail a request which a new connection can serve. So there is a second try, on a new connection, in two
    /// cases: nothing of the request was sent; or it was, it may be repeated, and nothing came back. Whatever else
    /// fails on a kept connection cannot be told from a request that was carried out, so `Backend::take_idle` gives out
    /// only connections on which that does not happen.
    async fn send(mut self, upload: Upload) -> End {
        let mut slot_buffer = BytesMut::new();
        let repeatable = self.head.repeatable;
        let mut upload = Some(upload);
        let mut failure = Unanswered::HadEnded;
        if let Some(kept) = self.claim.backend.take_idle(repeatable)
            && let Some(first) = upload.take()
        {
            let again = repeatable.then(|| first.out.clone());
            match self.attempt(kept, first, &mut slot_buffer, true).await {
                Ok(end) => return end,
                Err((Unanswered::HadEnded, unsent)) => {
                    let copy = |out| Upload {
                        body: Body::new(Length::Exactly(0)),
                        encoding: Encoding::Plain,
                        out,
                        ended: true,
                        after: Vec::new(),
                    };
                    tracing::debug!("a kept connection had ended");
                    upload = unsent.or(again.map(copy));
                    failure = Unanswered::Slot(Failure::Ended);
                }
                Err((other, _)) => failure = other,
            }
        }
        if let Some(upload) = upload {
            match self.connect().await {
                Err(unanswered) => failure = unanswered,
                Ok(fresh) => match self.attempt(fresh, upload, &mut slot_buffer, false).await {
                    Ok(end) => return end,
                    Err((unanswered, _)) => failure = unanswered,
                },
            }
        }
        match failure {
            Unanswered::Slot(failure) => self.fail(&failure).await,
            Unanswered::HadEnded => self.fail(&Failure::Ended).await,
            Unanswered::Client(refusal) => self.refuse(&refusal).await,
            Unanswered::Gone => {
                tracing::debug!(slot = %self.claim.slot, "a client left before its answer: 499");
                End::Cut
            }
        }
    }

    async fn connect(&self) -> Result<SlotConnection, Unanswered> {
        let core = &self.client.core;
        let limit = core.settings.limits.connect;
        let permits = &core.slot_connections;
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                core.routing.close_an_idle_connection();
                match timeout(limit, permits.clone().acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    _ => return Err(Unanswered::Client(Refusal::no_connection_left())),
                }
            }
        };
        self.claim.backend.connect(permit, limit).await.map_err(|failure| match failure {
            Failure::Connect(error) if is_our_lack(&error) => {
                tracing::warn!(%error, "no connection to a slot could be opened");
                Unanswered::Client(Refusal::no_connection_left())
            }
            failure => Unanswered::Slot(failure),
        })
    }

    /// Sends the request on this connection and passes on the answer. With the error comes the request, when nothing
    /// of it was sent.
    async fn attempt(
        &mut self,
        mut connection: SlotConnection,
        mut upload: Upload,
        slot_buffer: &mut BytesMut,
        kept: bool,
    ) -> Result<End, (Unanswered, Option<Upload>)> {
        let mut refused = false;
        match connection.stream.try_write(&upload.out) {
            Ok(count) if count == upload.out.len() => upload.out.clear(),
            Ok(count) => drop(upload.out.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if kept => return Err((Unanswered::HadEnded, Some(upload))),
            Err(_) => refused = true,
        }
        match self.transfer(&mut connection.stream, upload, slot_buffer, refused, kept).await {
            Ok(Transferred::Answer { end, reusable }) => {
                if reusable && slot_buffer.is_empty() {
                    self.claim.backend.give_back(connection);
                }
                Ok(end)
            }
            Ok(Transferred::Switch { out }) => Ok(self.switch(connection, std::mem::take(slot_buffer), &out).await),
            Err(unanswered) => Err((unanswered, None)),
        }
    }

    async fn transfer(
        &mut self,
        stream: &mut TcpStream,
        upload: Upload,
        slot_buffer: &mut BytesMut,
        refused: bool,
        mut kept: bool,
    ) -> Result<Transferred, Unanswered> {
        let Self { client, head, claim } = self;
        let Client { core, reader, writer, buffer, alarm, half_close_timeout, drain, .. } = &mut **client;
        let (settings, half_close_timeout) = (&core.settings, *half_close_timeout);
        let began = Instant::now();
        let (up_pace, down_pace) = (Pace::new(began), Pace::new(began));
        let (mut slot_reader, mut slot_writer) = stream.split();
        let mut uploading = pin!(upload.run(reader, buffer, &mut slot_writer, &up_pace));
        if refused {
            up_pace.refuse();
        }
        let all_read = || up_pace.waits_for() == Waiting::Nobody;
        let mut watching = true;
        // Until when the answer has to begin, whatever moves.
        let mut last_call: Option<Instant> = None;
        let mut half_closed = false;

        let (answer, mut out) = loop {
            if !slot_buffer.is_empty() {
                let mut out = Vec::new();
                let rest_is_read = all_read() || can_be_discarded(head.length);
                let asked = Asked {
                    minor: head.minor,
                    is_head: head.is_head,
                    wants_trailers: head.wants_trailers,
                    own_headers: &settings.own_headers,
                    keep_alive: head.keep_alive
                        && (rest_is_read || !up_pace.is_refused())
                        && !half_closed
                        && !drain.is_cancelled(),
                    rest_is_read,
                };
                match http1::response(slot_buffer, asked, &mut out) {
                    Ok(Some(answer)) => {
                        slot_buffer.advance(answer.bytes);
                        if answer.kind == Kind::Interim {
                            // The request has come to the slot.
                            kept = false;
                            continue;
                        }
                        break (answer, out);
                    }
                    Ok(None) if slot_buffer.len() < LONGEST_ANSWER_HEAD => {}
                    Ok(None) => return Err(slot(Failure::Malformed("its head is too large"))),
                    Err(why) => return Err(slot(Failure::Malformed(why))),
                }
            }
            slot_buffer.reserve(ROOM);
            let limit = || {
                let patience = match up_pace.waits_for() {
                    _ if up_pace.is_refused() => EARLY_ANSWER_LIMIT,
                    Waiting::Source => settings.body_timeout,
                    Waiting::Sink | Waiting::Nobody => settings.limits.response,
                };
                let still = up_pace.still_for(patience);
                last_call.map_or(still, |last| last.min(still))
            };
            tokio::select! {
                biased;
                read = slot_reader.read_buf(slot_buffer) => match read {
                    Ok(count) if count > 0 => {}
                    _ if kept && slot_buffer.is_empty() => return Err(Unanswered::HadEnded),
                    _ => return Err(slot(Failure::Ended)),
                },
                happened = &mut uploading, if watching => {
                    watching = false;
                    match happened {
                        Happened::HalfClosed if !half_close_timeout.is_zero() => {
                            half_closed = true;
                            last_call = Some(Instant::now() + half_close_timeout);
                        }
                        Happened::HalfClosed | Happened::Gone => return Err(Unanswered::Gone),
                        Happened::Malformed => return Err(Unanswered::Client(malformed_body())),
                        Happened::NotRead => {}
                    }
                }
                () = poll_fn(|cx| alarm.poll(cx, limit())) => {
                    return Err(match up_pace.waits_for() {
                        _ if half_closed => Unanswered::Gone,
                        Waiting::Source if !up_pace.is_refused() => Unanswered::Client(Refusal::request_timeout()),
                        _ => slot(Failure::ResponseTimeout),
                    });
                }
            }
        };

        if answer.kind == Kind::Switch && !head.wants_upgrade {
            return Err(slot(Failure::UnexpectedUpgrade));
        }
        if let Some((cookie, pin)) = settings.sticky.as_ref().zip(claim.new_pin) {
            http1::line(&mut out, "set-cookie", cookie.write(pin).as_bytes());
        }
        if let Some(name) = &settings.slot_header {
            http1::line(&mut out, name.as_str(), claim.slot.as_str().as_bytes());
        }
        if let Some(version) = claim.backend.version().filter(|_| settings.release_headers) {
            http1::line(&mut out, VERSION_HEADER, version.as_str().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        let failed = is_failure(answer.status, head.is_get);
        if answer.kind == Kind::Switch {
            claim.answered(failed);
            // What was read of the client ahead is in its buffer.
            return Ok(Transferred::Switch { out });
        }

        let mut body = Body::new(answer.length);
        let mut after = Vec::new();
        let ended = gather(&mut body, slot_buffer, answer.encoding, &mut after, &mut out)
            .map_err(|_| slot(Failure::Malformed("its body is malformed")))?;
        claim.answered(failed);
        let passed_on = {
            let source = Source { reader: &mut slot_reader, buffer: slot_buffer };
            let at_end = || claim.end();
            let mut downloading =
                pin!(relay(source, &mut body, answer.encoding, after, out, ended, writer, &down_pace, at_end));
            loop {
                let is_slots_turn = || {
                    down_pace.waits_for() != Waiting::Sink
                        && !half_closed
                        && (up_pace.waits_for() != Waiting::Source || up_pace.is_refused())
                };
                let limit = || match down_pace.waits_for() {
                    Waiting::Sink => down_pace.still_for(settings.send_timeout),
                    // A client that sends no more and gets nothing cannot be told from one that has gone.
                    _ if half_closed => down_pace.still_for(half_close_timeout),
                    _ => {
                        let limit = if is_slots_turn() { settings.answer_timeout } else { settings.body_timeout };
                        down_pace.still_for(limit).max(up_pace.still_for(limit))
                    }
                };
                tokio::select! {
                    biased;
                    done = &mut downloading => break done,
                    happened = &mut uploading, if watching => {
                        watching = false;
                        match happened {
                            Happened::HalfClosed if !half_close_timeout.is_zero() => {
                                half_closed = true;
                                down_pace.restart();
                            }
                            Happened::NotRead => {}
                            Happened::HalfClosed | Happened::Gone | Happened::Malformed => {
                                return Ok(Transferred::CUT);
                            }
                        }
                    }
                    () = poll_fn(|cx| alarm.poll(cx, limit())) => {
                        if is_slots_turn() {
                            break Err(Broken::Source);
                        }
                        return Ok(Transferred::CUT);
                    }
                }
            }
        };
        match passed_on {
            Ok(()) => {}
            Err(Broken::Sink) => return Ok(Transferred::CUT),
            Err(Broken::Source | Broken::Malformed) => {
                tracing::warn!(slot = %claim.slot, address = %claim.backend.address(), "an answer was broken off");
                if !failed {
                    claim.broke_off();
                }
                return Ok(Transferred::CUT);
            }
        }
        if watching {
            finish(uploading, &up_pace, alarm, answer.keep_alive).await;
        }
        let end = if all_read() && answer.keep_alive && !half_closed { End::Keep } else { End::Linger };
        Ok(Transferred::Answer { end, reusable: all_read() && !up_pace.is_refused() && answer.reusable })
    }

    /// Connects client and slot when they have switched protocols.
    async fn switch(&mut self, connection: SlotConnection, slot_buffer: BytesMut, out: &[u8]) -> End {
        if self.client.tell(out).await.is_ok() {
            let Client { reader, writer, buffer, .. } = &mut *self.client;
            tunnel(reader, writer, std::mem::take(buffer), connection.stream, slot_buffer).await;
        }
        End::Cut
    }

    /// Answers in the place of the slot, and counts that against it.
    async fn fail(&mut self, failure: &Failure) -> End {
        let claim = &self.claim;
        tracing::warn!(slot = %claim.slot, address = %claim.backend.address(), ?failure, "a request was not answered: {failure}");
        claim.answered(true);
        let refusal = failure.refusal(claim.slot);
        self.refuse(&refusal).await
    }

    async fn refuse(&mut self, refusal: &Refusal) -> End {
        let Head { minor, is_head, keep_alive, length, .. } = self.head;
        let keep = keep_alive && length == Length::Exactly(0) && !self.client.drain.is_cancelled();
        let name = self.client.core.settings.slot_header.clone();
        let slot = name.as_ref().map(|name| (name.as_str(), self.claim.slot));
        let answer = refusal.answer(minor, is_head, keep, slot);
        self.claim.end();
        match self.client.tell(&answer).await {
            Ok(()) if keep => End::Keep,
            Ok(()) => End::Linger,
            Err(_) => End::Cut,
        }
    }
}

/// Sees to what an answer has overtaken of its request: it goes to the slot for as long as that takes it. The rest is
/// thrown away, where the client's connection is to be kept.
async fn finish(mut uploading: Pin<&mut impl Future<Output = Happened>>, pace: &Pace, alarm: &mut Alarm, keep: bool) {
    let until = Instant::now() + LINGER;
    poll_fn(|cx| {
        loop {
            if pace.waits_for() == Waiting::Nobody
                || (pace.is_refused() && !keep)
                || uploading.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(());
            }
            let limit = match pace.waits_for() {
                Waiting::Nobody => return Poll::Ready(()),
                _ if pace.is_refused() => until,
                Waiting::Source if !keep => until.min(pace.still_for(REST_LIMIT)),
                Waiting::Source | Waiting::Sink => until.min(pace.still_for(LINGER_SILENCE)),
            };
            ready!(alarm.poll(cx, limit));
            if pace.is_refused() || pace.waits_for() != Waiting::Sink || Instant::now() >= until {
                return Poll::Ready(());
            }
            pace.refuse();
        }
    })
    .await;
}

fn slot(failure: Failure) -> Unanswered {
    Unanswered::Slot(failure)
}

fn malformed_body() -> Refusal {
    Refusal::bad_request("the body of the request is malformed")
}

fn encoding(length: Length) -> Encoding {
    match length {
        Length::Exactly(_) => Encoding::Plain,
        Length::Chunked | Length::UntilEnd => Encoding::Chunked { trailers: true },
    }
}
