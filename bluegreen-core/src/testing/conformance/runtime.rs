use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::another_process::ProcessEnd;
use super::contract::{Contract, another_service, steps};
use super::cut_off::CutOff;
use crate::error::ErrorKind;
use crate::runtime::Runtime;
use crate::types::{Instance, Release, Slot, Target};

/// What [`runtime`] needs: two empty slots, some releases, and another way to see what runs.
#[async_trait]
pub trait RuntimeFixture: Sync {
    /// The adapter.
    type Runtime: Runtime;

    /// A new handle on the slots, such as another process would open.
    async fn open(&self) -> Self::Runtime;

    /// One of three releases, by number from 0, to go into a slot. Each has a version of its own, writes at least
    /// two lines before it has ended, and ends when it is asked to.
    fn target(&self, slot: Slot, release: usize) -> Target;

    /// Names what is alive in a slot, seen past the runtime, such that a restart changes the name: a process id with its
    /// start time, a container id with its start time. `None`: nothing is alive there. It is the oracle of the suite.
    async fn alive(&self, slot: Slot) -> Option<String>;

    /// Ends what is alive in a slot by force, past the runtime. False: that cannot be done.
    async fn kill(&self, slot: Slot) -> bool {
        let _ = slot;
        false
    }

    /// A text that every release writes to its log when it starts. `None`: logs are not kept.
    fn logged(&self) -> Option<&str> {
        None
    }

    /// A target with the version of release 0 and other content. `None`: content is not told apart.
    fn reused_version(&self, slot: Slot) -> Option<Target> {
        let _ = slot;
        None
    }

    /// A target with the version and the content of release 0 and other settings, which change what is started. `None`: the
    /// runtime has no use for settings.
    fn other_settings(&self, slot: Slot) -> Option<Target> {
        let _ = slot;
        None
    }

    /// Starts a prepared release from another process, which then ends. False: that cannot be done.
    ///
    /// [`in_another_process`](super::in_another_process) does it.
    async fn start_in_another_process(&self, target: &Target, end: ProcessEnd) -> bool {
        let _ = (target, end);
        false
    }

    /// A target whose artifact does not exist. `None`: releases have no artifact.
    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        let _ = slot;
        None
    }

    /// A release that does not end when it is asked to. `None`: there is none.
    fn stubborn(&self, slot: Slot) -> Option<Target> {
        let _ = slot;
        None
    }

    /// Whether the runtime marks its place as its service's. The suite then comes to it as another service.
    fn marks_its_place(&self) -> bool {
        false
    }

    /// How long a release takes to end when it is asked to, at most.
    fn grace(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// Tests the contract of [`Runtime`]. When it returns, nothing runs any more.
///
/// # Panics
/// At the first clause that does not hold.
pub async fn runtime(fixture: &impl RuntimeFixture) {
    let runtime = fixture.open().await;
    let suite = Suite { fixture, contract: Contract::of(&runtime), runtime };
    steps! {
        suite:
        begins_empty,
        prepares_without_starting,
        starts_once,
        refuses_to_overwrite,
        refuses_other_settings,
        leaves_the_other_slot_alone,
        stops_and_is_gone,
        outlives_what_started_it,
        keeps_the_logs_of_the_dead,
        tells_the_dead_from_the_living,
        ends_the_stubborn_by_force,
        survives_cut_offs,
        refuses_another_service,
    }
}

const LIVE: Slot = Slot::Blue;
const IDLE: Slot = Slot::Green;

struct Suite<'a, F: RuntimeFixture> {
    fixture: &'a F,
    contract: Contract,
    runtime: F::Runtime,
}

impl<F: RuntimeFixture> Suite<'_, F> {
    async fn begins_empty(&self) {
        let c = &self.contract;
        for slot in Slot::BOTH {
            let clause = "a slot in which nothing ever was is Absent, has no log, and stop has nothing to do";
            c.same(clause, self.inspect(slot).await, Instance::Absent);
            c.same(clause, c.ok(clause, self.runtime.logs(slot, 10).await), Vec::new());
            c.ok(clause, self.runtime.stop(slot, self.fixture.grace()).await);
            c.same(clause, self.inspect(slot).await, Instance::Absent);
        }
    }

    async fn prepares_without_starting(&self) {
        let c = &self.contract;
        for slot in Slot::BOTH {
            for _ in 0..2 {
                let clause = "prepare can be repeated, and starts nothing";
                c.ok(clause, self.runtime.prepare(&self.fixture.target(slot, 0)).await);
                c.same(clause, self.fixture.alive(slot).await, None);
            }
        }
        if let Some(missing) = self.fixture.missing_artifact(IDLE) {
            let clause = "prepare of an artifact that does not exist is NotFound";
            c.refused(clause, self.runtime.prepare(&missing).await, &[ErrorKind::NotFound]);
        }
    }

    async fn starts_once(&self) {
        let c = &self.contract;
        let target = self.fixture.target(LIVE, 0);
        let clause = "start brings the release up, and returns it running as its version";
        let started = c.ok(clause, self.runtime.start(&target).await);
        let first = self.alive(clause, LIVE).await;
        c.holds(clause, started.is_running(), &started);
        self.is_release(clause, &started, 0);
        let clause = "a new handle finds what runs, at the same endpoints";
        c.same(clause, self.inspect(LIVE).await, started.clone());
        c.same(clause, self.inspect(IDLE).await.is_running(), false);

        for _ in 0..2 {
            let clause = "a start of the release that runs already leaves it alone, and returns it";
            let again = c.ok(clause, self.fixture.open().await.start(&target).await);
            c.same(clause, again, started.clone());
            c.same(clause, self.alive(clause, LIVE).await, first.clone());
            let clause = "a prepare of the release that runs already disturbs nothing";
            c.ok(clause, self.runtime.prepare(&target).await);
            c.same(clause, self.alive(clause, LIVE).await, first.clone());
        }
    }

    /// Release 0 runs in the live slot.
    async fn refuses_other_settings(&self) {
        let Some(other) = self.fixture.other_settings(LIVE) else { return };
        let c = &self.contract;
        let before = self.alive("the live slot runs", LIVE).await;
        let clause = "a start of the version that runs with other settings is a Conflict, and leaves it alone";
        c.refused(clause, self.runtime.start(&other).await, &[ErrorKind::Conflict]);
        c.same(clause, self.alive(clause, LIVE).await, before);
    }

    /// Nothing runs, and all releases are prepared.
    async fn outlives_what_started_it(&self) {
        let c = &self.contract;
        let target = self.fixture.target(LIVE, 0);
        let clause = "what is started outlives the handle that started it";
        let starter = self.fixture.open().await;
        c.ok(clause, starter.start(&target).await);
        let first = self.alive(clause, LIVE).await;
        drop(starter);
        self.stays(clause, &first).await;
        c.ok("stop", self.runtime.stop(LIVE, self.fixture.grace()).await);

        for end in [ProcessEnd::Returns, ProcessEnd::Killed] {
            if !self.fixture.start_in_another_process(&target, end).await {
                return;
            }
            let clause =
                "what is started outlives the process that started it, also one that is killed with its whole group";
            let first = self.alive(clause, LIVE).await;
            self.stays(clause, &first).await;
            self.is_release(clause, &self.inspect(LIVE).await, 0);
            c.ok(clause, self.runtime.stop(LIVE, self.fixture.grace()).await);
            c.same("when stop returns, what ran is gone", self.fixture.alive(LIVE).await, None);
        }
    }

    /// Release 0 runs in the live slot.
    async fn refuses_to_overwrite(&self) {
        let c = &self.contract;
        let before = self.alive("the live slot runs", LIVE).await;
        let other = self.fixture.target(LIVE, 1);
        let clause = "a prepare for an occupied slot disturbs what runs there in no way";
        c.ok(clause, self.runtime.prepare(&other).await);
        c.same(clause, self.alive(clause, LIVE).await, before.clone());
        let clause = "a start in a slot in which another release runs is a Conflict, and leaves that one alone";
        c.refused(clause, self.runtime.start(&other).await, &[ErrorKind::Conflict]);
        c.same(clause, self.alive(clause, LIVE).await, before.clone());
        self.is_release(clause, &self.inspect(LIVE).await, 0);
        for slot in Slot::BOTH {
            let Some(reused) = self.fixture.reused_version(slot) else { return };
            let clause = "a version that is present is never overwritten with other content: that is a Conflict";
            c.refused(clause, self.runtime.prepare(&reused).await, &[ErrorKind::Conflict]);
            c.same(clause, self.alive(clause, LIVE).await, before.clone());
        }
    }

    /// Release 0 runs in the live slot.
    async fn leaves_the_other_slot_alone(&self) {
        let c = &self.contract;
        let before = self.alive("the live slot runs", LIVE).await;
        for release in [1, 0, 2] {
            let target = self.fixture.target(IDLE, release);
            let clause = "what is done in one slot never disturbs the other one";
            c.ok(clause, self.runtime.prepare(&target).await);
            let started = c.ok(clause, self.runtime.start(&target).await);
            self.is_release(clause, &started, release);
            let (live, idle) = (self.alive(clause, LIVE).await, self.alive(clause, IDLE).await);
            c.same(clause, &live, &before);
            c.holds("the two slots are two things", live != idle, &idle);
            let endpoints = (self.inspect(LIVE).await, self.inspect(IDLE).await);
            let shared = endpoints.0.endpoints().iter().find(|endpoint| endpoints.1.endpoints().contains(endpoint));
            c.same("two slots that run share no endpoint", shared, None);
            c.ok(clause, self.runtime.stop(IDLE, self.fixture.grace()).await);
            c.same("when stop returns, what ran is gone", self.fixture.alive(IDLE).await, None);
            c.same(clause, &self.alive(clause, LIVE).await, &before);
            self.is_release(clause, &self.inspect(LIVE).await, 0);
        }
    }

    /// Release 0 runs in the live slot.
    async fn stops_and_is_gone(&self) {
        let c = &self.contract;
        for _ in 0..2 {
            let clause = "when stop returns, what ran is gone; a stop of what does not run has nothing to do";
            c.ok(clause, self.runtime.stop(LIVE, self.fixture.grace()).await);
            c.same(clause, self.fixture.alive(LIVE).await, None);
            let found = self.inspect(LIVE).await;
            c.holds(clause, !found.is_running(), found);
        }
        let clause = "a slot that was stopped can be started again, also with another release";
        for release in [0, 1] {
            c.ok(clause, self.runtime.start(&self.fixture.target(LIVE, release)).await);
            self.alive(clause, LIVE).await;
            self.is_release(clause, &self.inspect(LIVE).await, release);
            c.ok(clause, self.runtime.stop(LIVE, self.fixture.grace()).await);
        }
    }

    async fn keeps_the_logs_of_the_dead(&self) {
        let Some(text) = self.fixture.logged() else { return };
        let c = &self.contract;
        c.ok("start", self.runtime.start(&self.fixture.target(LIVE, 0)).await);
        self.logs_say("logs gives what a release wrote", LIVE, text).await;
        c.ok("stop", self.runtime.stop(LIVE, self.fixture.grace()).await);
        let clause = "logs gives what a release wrote, also after it has ended, to a new handle too";
        self.logs_say(clause, LIVE, text).await;
        let clause = "logs gives the last lines, oldest first, and no more than were asked for";
        let all = c.ok(clause, self.runtime.logs(LIVE, 1000).await);
        c.holds(clause, all.len() >= 2, &all);
        c.same(clause, c.ok(clause, self.runtime.logs(LIVE, 1).await), all[all.len() - 1..].to_vec());
        c.same(clause, c.ok(clause, self.runtime.logs(LIVE, 0).await), Vec::new());
    }

    async fn tells_the_dead_from_the_living(&self) {
        let c = &self.contract;
        let target = self.fixture.target(LIVE, 0);
        c.ok("start", self.runtime.start(&target).await);
        let before = self.alive("start", LIVE).await;
        // Killed any earlier, it would have had no time to write anything.
        if let Some(text) = self.fixture.logged() {
            self.logs_say("logs gives what a release wrote", LIVE, text).await;
        }
        if !self.fixture.kill(LIVE).await {
            c.ok("stop", self.runtime.stop(LIVE, self.fixture.grace()).await);
            return;
        }
        let clause = "a release that died is Stopped, as its version";
        let found = self.eventually_down(clause).await;
        c.holds(clause, matches!(found, Instance::Stopped { .. }), &found);
        self.is_release(clause, &found, 0);
        if let Some(text) = self.fixture.logged() {
            self.logs_say("logs gives what a release wrote, also after it died", LIVE, text).await;
        }
        c.ok("a stop of what has died has nothing to do", self.runtime.stop(LIVE, self.fixture.grace()).await);
        let clause = "a release that died can be started again, by its version and settings, without its artifact";
        let known = Release::from(target.version().clone());
        let known = target.release.settings().fold(known, |known, (key, value)| known.with_setting(key, value));
        c.ok(clause, self.fixture.open().await.start(&Target { release: known, ..target }).await);
        c.holds(clause, self.alive(clause, LIVE).await != before, "the dead one");
        c.ok("stop", self.runtime.stop(LIVE, self.fixture.grace()).await);
    }

    async fn ends_the_stubborn_by_force(&self) {
        let Some(stubborn) = self.fixture.stubborn(IDLE) else { return };
        let c = &self.contract;
        let clause = "stop asks first, and ends by force after the grace";
        c.ok(clause, self.runtime.prepare(&stubborn).await);
        c.ok(clause, self.runtime.start(&stubborn).await);
        if let Some(text) = self.fixture.logged() {
            // Until it has set itself up it may still end when it is asked to.
            self.logs_say(clause, IDLE, text).await;
        }
        let (grace, started) = (Duration::from_secs(1), Instant::now());
        c.ok(clause, self.runtime.stop(IDLE, grace).await);
        c.same(clause, self.fixture.alive(IDLE).await, None);
        c.holds(clause, started.elapsed() >= grace, started.elapsed());
        c.holds(clause, started.elapsed() < grace + Duration::from_secs(15), started.elapsed());
    }

    async fn survives_cut_offs(&self) {
        let c = &self.contract;
        let live = self.fixture.target(LIVE, 0);
        c.ok("start", self.runtime.start(&live).await);
        let before = self.alive("start", LIVE).await;
        for (number, cut_off) in self.fixture.cut_offs().into_iter().enumerate() {
            let target = self.fixture.target(IDLE, 1 + number % 2);
            let clause = "a prepare that was cut off can be repeated";
            let _ = cut_off.run(self.runtime.prepare(&target)).await;
            c.ok(clause, self.runtime.prepare(&target).await);

            let clause = "a start that was cut off converges when it is made again: the release runs, once";
            let _ = cut_off.run(self.runtime.start(&target)).await;
            let started = c.ok(clause, self.fixture.open().await.start(&target).await);
            self.is_release(clause, &started, 1 + number % 2);
            let running = self.alive(clause, IDLE).await;
            c.same(clause, self.inspect(IDLE).await, started);
            let _ = cut_off.run(self.runtime.inspect(IDLE)).await;
            let _ = cut_off.run(self.runtime.logs(IDLE, 10)).await;
            c.same("a look that was cut off disturbs nothing", self.alive(clause, IDLE).await, running);

            let clause = "a stop that was cut off converges when it is made again: nothing runs";
            let _ = cut_off.run(self.runtime.stop(IDLE, self.fixture.grace())).await;
            c.ok(clause, self.fixture.open().await.stop(IDLE, self.fixture.grace()).await);
            c.same(clause, self.fixture.alive(IDLE).await, None);

            let clause = "a stop after a start that was cut off leaves nothing running";
            let _ = cut_off.run(self.runtime.start(&target)).await;
            c.ok(clause, self.fixture.open().await.stop(IDLE, self.fixture.grace()).await);
            c.same(clause, self.fixture.alive(IDLE).await, None);

            let clause = "what is cut off in one slot never disturbs the other one";
            c.same(clause, &self.alive(clause, LIVE).await, &before);
        }
        c.ok("stop", self.runtime.stop(LIVE, self.fixture.grace()).await);
        c.same("stop", self.fixture.alive(LIVE).await, None);
    }

    async fn refuses_another_service(&self) {
        if !self.fixture.marks_its_place() {
            return;
        }
        let c = &self.contract;
        let target = self.fixture.target(LIVE, 0);
        let (mine, other) = (self.fixture.open().await, self.fixture.open().await);
        c.ok("a service can be bound, and bound again", mine.bind_service(&target.service));
        c.ok("a service can be bound, and bound again", mine.bind_service(&target.service));
        c.ok("start", mine.start(&target).await);
        let before = self.alive("start", LIVE).await;
        let stranger = another_service(c);
        c.is_anothers("a runtime that is bound is not bound to another service", mine.bind_service(&stranger));
        c.ok("a service can be bound", other.bind_service(&stranger));
        for slot in Slot::BOTH {
            let theirs = Target { service: stranger.clone(), ..self.fixture.target(slot, 1) };
            c.is_anothers("preview", other.preview(&theirs).await);
            c.is_anothers("prepare", other.prepare(&theirs).await);
            c.is_anothers("start", other.start(&theirs).await);
            c.is_anothers("inspect", other.inspect(slot).await);
            c.is_anothers("stop", other.stop(slot, self.fixture.grace()).await);
            c.is_anothers("logs", other.logs(slot, 10).await);
        }
        c.same("what another service was refused disturbs nothing", self.alive("start", LIVE).await, before);
        c.ok("its own service stops it", mine.stop(LIVE, self.fixture.grace()).await);
    }

    /// What dies with something else takes a moment to be gone.
    async fn stays(&self, clause: &str, alive: &str) {
        for _ in 0..10 {
            self.contract.same(clause, self.alive(clause, LIVE).await.as_str(), alive);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A killed process takes a moment to be gone.
    async fn eventually_down(&self, clause: &str) -> Instance {
        for _ in 0..250 {
            let found = self.inspect(LIVE).await;
            if !found.is_running() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.contract.broken(clause, "still running, five seconds after it was killed")
    }

    /// What a release writes when it starts takes a moment to be there.
    async fn logs_say(&self, clause: &str, slot: Slot, text: &str) {
        let mut logs = Vec::new();
        for _ in 0..250 {
            logs = self.contract.ok(clause, self.fixture.open().await.logs(slot, 1000).await);
            if logs.iter().any(|line| line.contains(text)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.contract.broken(clause, format!("no {text:?} in {logs:?}"))
    }

    async fn alive(&self, clause: &str, slot: Slot) -> String {
        let alive = self.fixture.alive(slot).await;
        alive.unwrap_or_else(|| self.contract.broken(clause, format!("nothing is alive in {slot}")))
    }

    #[track_caller]
    fn is_release(&self, clause: &str, found: &Instance, release: usize) {
        let wanted = self.fixture.target(LIVE, release);
        // A runtime that does not know the version says so.
        let right = found.version().is_none_or(|version| version == wanted.version());
        self.contract.holds(clause, right, found);
    }

    /// What a new handle sees.
    async fn inspect(&self, slot: Slot) -> Instance {
        self.contract.ok("inspect answers", self.fixture.open().await.inspect(slot).await)
    }
}
