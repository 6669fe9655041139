//! Waiting by the engine's events: a container that is healthy, or dead, is noticed when it happens.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Mask, Result, Slot};
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clock::engine_time;
use super::container::{Container, KILLED, OUT_OF_MEMORY, in_words, service_of, services_of};
use super::failure;
use super::group::Group;
use super::readiness::{Judgement, Readiness, Waiting};
use super::records::StateDirectory;
use super::start_notes::StartNotes;
use crate::engine::Engine;
use crate::labels;

/// How long an engine that cannot be reached is asked again: it may be restarting.
const ENGINE_GONE: Duration = Duration::from_secs(15);

/// Between two attempts to reach such an engine.
const ENGINE_PAUSE: Duration = Duration::from_millis(250);

/// How long nothing may be heard before it is looked again: the events of a connection that is dead stay away in silence.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long after a container was killed the engine may tell that it was for its memory.
const TO_TELL_OF_MEMORY: Duration = Duration::from_secs(3);

/// How long the engine may take to tell what it has told nobody yet.
const TO_CATCH_UP: Duration = Duration::from_secs(1);

pub(crate) struct Watch<'a> {
    engine: &'a Engine,
    mask: &'a Mask,
    group: &'a Group,
    known: Known,
    began: Instant,
    deadline: Instant,
    events: Option<BoxStream<'static, Result<EventMessage, EngineError>>>,
    /// Whether all containers are there, and none may wait to be started any more.
    is_up: bool,
    forgiven: Option<Forgiven<'a>>,
}

/// What a later look at the slot is not to take for a fault.
struct Forgiven<'a> {
    records: &'a StateDirectory,
    slot: Slot,
    notes: StartNotes,
}

impl Forgiven<'_> {
    async fn note(&mut self, containers: &[Container]) -> Result<()> {
        let notes = StartNotes::of(containers);
        if notes != self.notes {
            notes.write(self.records, self.slot).await?;
            self.notes = notes;
        }
        Ok(())
    }
}

/// What is known of a slot's containers; from one watch to the next.
#[derive(Debug)]
pub(crate) struct Known {
    readiness: Readiness,
    /// From when on events matter, in the engine's time: none is lost between two connections.
    since: i128,
    /// The containers in which the kernel killed a process for want of memory.
    out_of_memory: BTreeSet<String>,
}

/// Something that may change the judgement.
enum Heard {
    /// A container ended.
    End {
        id: String,
        service: String,
        status: i64,
    },
    Other,
    /// The engine stopped telling.
    Silence,
}

impl Known {
    /// All events from now on count.
    pub(crate) async fn new(engine: &Engine, readiness: Readiness) -> Result<Self> {
        let since = engine_time(engine).await?.as_nanosecond();
        Ok(Self { readiness, since, out_of_memory: BTreeSet::new() })
    }
}

impl<'a> Watch<'a> {
    pub(crate) fn new(engine: &'a Engine, mask: &'a Mask, group: &'a Group, known: Known, limit: Duration) -> Self {
        let began = Instant::now();
        Self { engine, mask, group, known, began, deadline: began + limit, events: None, is_up: false, forgiven: None }
    }

    /// Runs what takes its time while containers come up, or are up, and fails as soon as one of them ends for good.
    pub(crate) async fn during(&mut self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let mut work = std::pin::pin!(work);
        loop {
            let heard = tokio::select! {
                biased;
                done = &mut work => return done,
                heard = self.hear_until(Instant::now() + LOOK_AGAIN) => heard?,
            };
            if let Heard::End { id, service, status } = heard {
                self.end(&id, &service, status).await?;
            }
            self.judge().await?;
        }
    }

    /// The same for containers that are all up. What has ended meanwhile, and is well again, is noted as forgiven.
    pub(crate) async fn supervise(
        &mut self,
        work: impl Future<Output = Result<()>>,
        records: &'a StateDirectory,
        slot: Slot,
    ) -> Result<()> {
        self.is_up = true;
        self.forgiven = Some(Forgiven { records, slot, notes: StartNotes::default() });
        self.is_well().await?;
        self.during(work).await
    }

    /// Fails where one of them has ended for good.
    pub(crate) async fn is_well(&mut self) -> Result<()> {
        self.judge().await.map(drop)
    }

    /// Waits until all containers are ready.
    pub(crate) async fn until_ready(&mut self) -> Result<()> {
        self.is_up = true;
        loop {
            let Some(Waiting { on, until }) = self.judge().await? else { return Ok(()) };
            if Instant::now() >= self.deadline {
                return Err(self.too_late(&on).await);
            }
            let soon = (Instant::now() + LOOK_AGAIN).min(self.deadline);
            let heard = self.hear_until(until.map_or(soon, |until| until.min(soon))).await?;
            if let Heard::End { id, service, status } = heard {
                self.end(&id, &service, status).await?;
            }
        }
    }

    /// What was learned, for the next watch.
    pub(crate) fn into_known(self) -> Known {
        self.known
    }

    /// How those ended that did so more than once, each with what it wrote last; `None` where there are none.
    pub(crate) async fn loops(&mut self) -> Option<String> {
        // What the engine has told by now, and nobody has heard yet.
        let until = Instant::now() + TO_CATCH_UP;
        while matches!(timeout_at(until, self.hear()).await, Ok(Ok(_))) {}
        let loops = self.known.readiness.loops();
        if loops.is_empty() {
            return None;
        }
        let containers = services_of(self.engine, self.group).await.unwrap_or_default();
        let told = failure::of(self.engine, self.mask, &containers, &loops).await;
        Some(told.message().to_owned()).filter(|told| !told.is_empty())
    }

    /// What there is to wait for, as the engine shows it now; `None` when all is ready. An `Err` when it fails the start.
    async fn judge(&mut self) -> Result<Option<Waiting>> {
        let gone = Instant::now() + ENGINE_GONE;
        let containers = loop {
            match services_of(self.engine, self.group).await {
                Ok(containers) => break containers,
                Err(error) if error.is_retryable() && Instant::now() < gone => {
                    tracing::warn!(error = %error.chain(), "the engine does not answer; asking again");
                    tokio::time::sleep(ENGINE_PAUSE).await;
                }
                Err(error) => return Err(error.maybe_applied()),
            }
        };
        let waiting = match self.known.readiness.judge(&containers, self.is_up, Instant::now()) {
            Judgement::Failed(failed) => return Err(self.failed(&containers, failed.into_iter().collect()).await),
            Judgement::Waiting(waiting) => Some(waiting),
            Judgement::Ready => None,
        };
        if let Some(forgiven) = &mut self.forgiven {
            forgiven.note(&containers).await?;
        }
        Ok(waiting)
    }

    async fn end(&mut self, id: &str, service: &str, status: i64) -> Result<()> {
        if status == 0 && self.known.readiness.may_end(service) {
            return Ok(());
        }
        let containers = services_of(self.engine, self.group).await.unwrap_or_default();
        let Some(found) = containers.iter().find(|container| container.id == id) else {
            let what = format!("{service} ended: {}", in_words(status, false, ""));
            return Err(Error::new(ErrorKind::Unhealthy, what));
        };
        // The engine starts it again, for as often as that is allowed; or it did, and a later end is the one that counts.
        if found.is_alive() || (found.is_done() && self.known.readiness.may_end(service)) {
            return Ok(());
        }
        let failed = HashMap::from([(id.to_owned(), self.known.readiness.ending(found))]);
        Err(self.failed(&containers, failed).await)
    }

    /// The error for containers that fail the start, by id with the reason.
    async fn failed(&mut self, containers: &[Container], mut failed: HashMap<String, String>) -> Error {
        let told = containers.iter().filter(|container| container.is_out_of_memory());
        self.known.out_of_memory.extend(told.map(|container| container.id.clone()));
        // The engine tells of a container's end and of its want of memory in any order.
        let is_open = |known: &Known| {
            failed.iter().any(|(id, reason)| reason.contains(KILLED) && !known.out_of_memory.contains(id))
        };
        let until = Instant::now() + TO_TELL_OF_MEMORY;
        while is_open(&self.known) {
            if !matches!(timeout_at(until, self.hear()).await, Ok(Ok(_))) {
                break;
            }
        }
        for (id, reason) in &mut failed {
            if self.known.out_of_memory.contains(id) && !reason.contains(OUT_OF_MEMORY) {
                *reason = format!("{}{OUT_OF_MEMORY}", reason.replace(KILLED, ""));
            }
        }
        failure::of(self.engine, self.mask, containers, &failed).await
    }

    async fn too_late(&mut self, on: &[String]) -> Error {
        let containers = services_of(self.engine, self.group).await.unwrap_or_default();
        let what = format!("not ready after {:?}: {}", self.began.elapsed().max(Duration::from_secs(1)), on.join(", "));
        failure::with_logs(self.engine, self.mask, &containers, Error::new(ErrorKind::Timeout, what).retryable(false))
            .await
    }

    /// The next event that matters. Where nothing is heard by then, it is time to look again.
    async fn hear_until(&mut self, wake: Instant) -> Result<Heard> {
        timeout_at(wake, self.hear()).await.unwrap_or(Ok(Heard::Other))
    }

    /// The next event that matters.
    async fn hear(&mut self) -> Result<Heard> {
        loop {
            let docker = self.engine.docker().await?;
            let events = self.events.get_or_insert_with(|| listen(docker, self.group, &moment(self.known.since)));
            let event = match events.next().await {
                Some(Ok(event)) => event,
                None | Some(Err(_)) => {
                    self.events = None;
                    sleep_until(Instant::now() + ENGINE_PAUSE).await;
                    return Ok(Heard::Silence);
                }
            };
            self.known.since = self.known.since.max(event.time_nano.map_or(0, i128::from) + 1);
            let Some(actor) = event.actor else { continue };
            let (id, attributes) = (actor.id.unwrap_or_default(), actor.attributes.unwrap_or_default());
            let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
            if attribute(labels::COMPOSE_ONE_OFF).eq_ignore_ascii_case("true") {
                continue;
            }
            match event.action.as_deref().unwrap_or_default() {
                "oom" => {
                    self.known.out_of_memory.insert(id);
                    return Ok(Heard::Other);
                }
                "die" => {
                    let status = attribute("exitCode").parse().unwrap_or(-1);
                    self.known.readiness.ended(&id, status);
                    let service = service_of(&attributes).unwrap_or_default().to_owned();
                    return Ok(Heard::End { id, service, status });
                }
                "start" => return Ok(Heard::Other),
                action if action.starts_with("health_status") => return Ok(Heard::Other),
                _ => {}
            }
        }
    }
}

fn listen(docker: &Docker, group: &Group, since: &str) -> BoxStream<'static, Result<EventMessage, EngineError>> {
    let filters =
        HashMap::from([("type", vec![EventMessageTypeEnum::CONTAINER.to_string()]), ("label", vec![group.filter()])]);
    let options = EventsOptionsBuilder::default().filters(&filters).since(since).build();
    docker.events(Some(options)).boxed()
}

/// A moment as the engine takes it: seconds and nanoseconds.
fn moment(nanoseconds: i128) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}
