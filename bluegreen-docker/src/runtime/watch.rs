//! Waiting by the engine's events: a container that is healthy, or dead, is noticed when it happens.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clock::engine_time;
use super::container::{Container, KILLED, OUT_OF_MEMORY, in_words, services_of};
use super::failure;
use super::readiness::{Judgement, Readiness, Waiting};
use crate::engine::Engine;
use crate::labels;
use crate::mask::Mask;

/// How long an engine that cannot be reached is asked again: it may be restarting.
const ENGINE_GONE: Duration = Duration::from_secs(15);

/// Between two attempts to reach such an engine.
const ENGINE_PAUSE: Duration = Duration::from_millis(250);

/// How long nothing may be heard before it is looked again: the events of a connection that is dead stay away in silence.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long after a container was killed the engine may tell that it was for its memory.
const TO_TELL_OF_MEMORY: Duration = Duration::from_secs(1);

pub(super) struct Watch<'a> {
    engine: &'a Engine,
    mask: &'a Mask,
    project: &'a str,
    readiness: Readiness,
    began: Instant,
    deadline: Instant,
    events: Option<BoxStream<'static, Result<EventMessage, EngineError>>>,
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

impl<'a> Watch<'a> {
    /// All events from now on count.
    pub(super) async fn new(
        engine: &'a Engine,
        mask: &'a Mask,
        project: &'a str,
        readiness: Readiness,
        limit: Duration,
    ) -> Result<Watch<'a>> {
        let since = engine_time(engine).await?.as_nanosecond();
        let began = Instant::now();
        let (deadline, out_of_memory) = (began + limit, BTreeSet::new());
        Ok(Self { engine, mask, project, readiness, began, deadline, events: None, since, out_of_memory })
    }

    /// Runs what brings the containers up, and fails as soon as one of them ends.
    pub(super) async fn during(&mut self, up: impl Future<Output = Result<()>>) -> Result<()> {
        let mut up = std::pin::pin!(up);
        loop {
            let heard = tokio::select! {
                biased;
                done = &mut up => return done,
                heard = self.hear_until(Instant::now() + LOOK_AGAIN) => heard?,
            };
            if let Heard::End { id, service, status } = heard {
                self.end(&id, &service, status).await?;
            } else {
                self.judge(false).await?;
            }
        }
    }

    /// Waits until all containers are ready.
    pub(super) async fn until_ready(&mut self) -> Result<()> {
        loop {
            let Some(Waiting { on, until }) = self.judge(true).await? else { return Ok(()) };
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

    /// What there is to wait for, as the engine shows it now; `None` when all is ready. An `Err` when it fails the start.
    async fn judge(&mut self, is_up: bool) -> Result<Option<Waiting>> {
        let gone = Instant::now() + ENGINE_GONE;
        let containers = loop {
            match services_of(self.engine, self.project).await {
                Ok(containers) => break containers,
                Err(error) if error.is_retryable() && Instant::now() < gone.min(self.deadline) => {
                    tracing::warn!(error = %error.chain(), "the engine does not answer; asking again");
                    tokio::time::sleep(ENGINE_PAUSE).await;
                }
                Err(error) => return Err(error.maybe_applied()),
            }
        };
        match self.readiness.judge(&containers, is_up, Instant::now()) {
            Judgement::Failed(failed) => Err(self.failed(&containers, failed.into_iter().collect()).await),
            Judgement::Waiting(waiting) => Ok(Some(waiting)),
            Judgement::Ready => Ok(None),
        }
    }

    async fn end(&mut self, id: &str, service: &str, status: i64) -> Result<()> {
        if status == 0 && self.readiness.is_job(service) {
            return Ok(());
        }
        let containers = services_of(self.engine, self.project).await.unwrap_or_default();
        if !containers.iter().any(|container| container.id == id) {
            let what = format!("{service} ended: {}", in_words(status, false, ""));
            return Err(Error::new(ErrorKind::Unhealthy, what));
        }
        let failed = HashMap::from([(id.to_owned(), in_words(status, false, ""))]);
        Err(self.failed(&containers, failed).await)
    }

    /// The error for containers that fail the start, by id with the reason.
    async fn failed(&mut self, containers: &[Container], mut failed: HashMap<String, String>) -> Error {
        // The engine tells of a container's end and of its want of memory in any order.
        let is_open = |watch: &Self| {
            failed.iter().any(|(id, reason)| reason.contains(KILLED) && !watch.out_of_memory.contains(id))
        };
        let until = Instant::now() + TO_TELL_OF_MEMORY;
        while is_open(self) {
            if !matches!(timeout_at(until, self.hear()).await, Ok(Ok(_))) {
                break;
            }
        }
        for (id, reason) in &mut failed {
            if self.out_of_memory.contains(id) && !reason.contains(OUT_OF_MEMORY) {
                *reason = format!("{}{OUT_OF_MEMORY}", reason.replace(KILLED, ""));
            }
        }
        failure::of(self.engine, self.mask, containers, &failed).await
    }

    async fn too_late(&mut self, on: &[String]) -> Error {
        let containers = services_of(self.engine, self.project).await.unwrap_or_default();
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
            let events = self.events.get_or_insert_with(|| listen(docker, self.project, &moment(self.since)));
            let event = match events.next().await {
                Some(Ok(event)) => event,
                None | Some(Err(_)) => {
                    self.events = None;
                    sleep_until(Instant::now() + ENGINE_PAUSE).await;
                    return Ok(Heard::Silence);
                }
            };
            self.since = self.since.max(event.time_nano.map_or(0, i128::from) + 1);
            let Some(actor) = event.actor else { continue };
            let (id, attributes) = (actor.id.unwrap_or_default(), actor.attributes.unwrap_or_default());
            let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
            if attribute(labels::COMPOSE_ONE_OFF).eq_ignore_ascii_case("true") {
                continue;
            }
            match event.action.as_deref().unwrap_or_default() {
                "oom" => {
                    self.out_of_memory.insert(id);
                    return Ok(Heard::Other);
                }
                "die" => {
                    let status = attribute("exitCode").parse().unwrap_or(-1);
                    return Ok(Heard::End { id, service: attribute(labels::COMPOSE_SERVICE), status });
                }
                "start" => return Ok(Heard::Other),
                action if action.starts_with("health_status") => return Ok(Heard::Other),
                _ => {}
            }
        }
    }
}

fn listen(docker: &Docker, project: &str, since: &str) -> BoxStream<'static, Result<EventMessage, EngineError>> {
    let filters = HashMap::from([
        ("type", vec![EventMessageTypeEnum::CONTAINER.to_string()]),
        ("label", vec![format!("{}={project}", labels::COMPOSE_PROJECT)]),
    ]);
    let options = EventsOptionsBuilder::default().filters(&filters).since(since).build();
    docker.events(Some(options)).boxed()
}

/// A moment as the engine takes it: seconds and nanoseconds.
fn moment(nanoseconds: i128) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}
