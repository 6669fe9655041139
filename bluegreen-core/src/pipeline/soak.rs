//! Holding a share of traffic while the gates judge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::context::Context;
use super::defaults::LOOKS;
use super::health;
use super::reporter::millis;
use super::route::Route;
use super::session::{Halt, Session};
use super::strategy::Undecided;
use crate::duration_text::short;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, GateVerdict};
use crate::gate::{Verdict, Window};
use crate::probe::{self, Probe};
use crate::state::{State, Step};
use crate::types::{Instance, Slot, Split};

/// How many looks in a row may fail before the release does: one lost packet in a bake of minutes says nothing about it.
const BLIND_LOOKS: u32 = 4;

static WINDOWS: AtomicU64 = AtomicU64::new(0);

/// How a soak ended, short of failing.
enum Held {
    Through,
    /// The longest soak is over, and not every gate has passed.
    Undecided(String),
    /// The longest soak is over, and a gate says that the release cannot be judged.
    CannotJudge(String),
}

/// Holds the split for the length of the soak or bake, and until every gate passes, for its longest at most. Fails at once when a gate fails
/// or the slot dies, and when the slot is not healthy [`LOOKS`] times in a row.
///
/// The end is written as absolute time: a recovery holds what is left of it, never less; and never more than the whole,
/// should it be on a machine whose clock is behind.
pub(super) async fn step(session: &mut Session, route: &Route, step: Step, split: Split) -> Result<(), Halt> {
    let (soak, max) = length(&session.context, step);
    let (context, reporter) = (session.context.clone(), session.reporter.clone());
    let now = context.clock.now();
    let resumed = session.operation().await.filter(|operation| operation.started(step));
    let whole = now.plus(soak);
    let until = resumed.and_then(|operation| operation.soak_until).map_or(whole, |until| until.min(whole));
    let soak = until.since(now);
    let ends = move |state: &mut State| {
        if let Some(operation) = &mut state.operation {
            operation.soak_until = Some(until);
        }
    };
    let work = async {
        let began = Instant::now();
        let id = WINDOWS.fetch_add(1, Ordering::Relaxed);
        let (mut blind, mut unhealthy, mut told) = (0, 0, false);
        loop {
            let window = match look(&context, route, id, split, began.elapsed()).await {
                Err(error) if error.kind() != ErrorKind::Unhealthy && blind < BLIND_LOOKS => {
                    blind += 1;
                    reporter.say(EventKind::Note { text: format!("{step}: could not look: {}", error.chain()) });
                    sleep(context.settings.gate_interval).await;
                    continue;
                }
                looked => looked?,
            };
            blind = 0;
            let (verdicts, health) = tokio::join!(judge(&context, &window), check_health(&context, &window));
            unhealthy = if health.is_ok() { 0 } else { unhealthy + 1 };
            if unhealthy == LOOKS && health::without_the_unwell(&context, route.target.slot).await {
                unhealthy = 0;
            }
            let health =
                if unhealthy == LOOKS { health.map(|()| None)? } else { health.err().map(|error| error.chain()) };
            let left = soak.saturating_sub(began.elapsed());
            reporter.say(EventKind::Soaking { remaining_millis: millis(left), verdicts: verdicts.clone() });
            if let Some(said) = verdicts.iter().find(|said| matches!(said.verdict, Verdict::Fail { .. })) {
                return Err(Error::new(ErrorKind::Unhealthy, said.verdict.to_string()).with("gate", &said.gate));
            }
            let all_pass = verdicts.iter().all(|said| matches!(said.verdict, Verdict::Pass { .. }));
            if left.is_zero() && all_pass && health.is_none() {
                reporter.detail(summary(&verdicts));
                return Ok(Held::Through);
            }
            let extended = max.max(soak).saturating_sub(began.elapsed());
            if extended.is_zero() {
                reporter.detail(summary(&verdicts));
                let cannot = verdicts.iter().any(|said| matches!(said.verdict, Verdict::Hold { .. }));
                let reason = open(&verdicts, health);
                return Ok(if cannot { Held::CannotJudge(reason) } else { Held::Undecided(reason) });
            }
            if left.is_zero() && !std::mem::replace(&mut told, true) {
                let text = format!("{step}: extended by at most {}: {}", short(extended), open(&verdicts, health));
                reporter.say(EventKind::Note { text });
            }
            let next = if left.is_zero() { extended } else { left };
            sleep(context.settings.gate_interval.min(next)).await;
        }
    };
    let cleared = |state: &mut State| {
        if let Some(operation) = &mut state.operation {
            operation.soak_until = None;
        }
    };
    match session.step_with_result(step, ends, work, cleared).await? {
        Held::Through => Ok(()),
        // Whatever is done about a lack of evidence: an unhealthy environment is no time to move traffic.
        Held::CannotJudge(reason) => Err(Halt::Held(format!("{step}: {reason}"))),
        Held::Undecided(reason) => match context.strategy.undecided {
            Undecided::Hold => Err(Halt::Held(format!("{step}: {reason}"))),
            Undecided::Abort => {
                let what = format!("the gates were still undecided after the longest soak: {reason}");
                Err(Halt::Failed(Error::new(ErrorKind::Timeout, what).with_operation(step.to_string())))
            }
            Undecided::Accept => {
                session.reporter.note(format!("{step}: accepted without a verdict: {reason}"));
                Ok(())
            }
        },
    }
}

/// How long a soak or a bake is, and how long it may become.
fn length(context: &Context, step: Step) -> (Duration, Duration) {
    let strategy = &context.strategy;
    let traffic = strategy.steps.iter().find(|traffic| step == Step::Soak(traffic.percent));
    traffic.map_or_else(
        || (strategy.bake, strategy.max_bake_or_default()),
        |traffic| (traffic.soak, traffic.max_soak_or_default()),
    )
}

/// Looks at both slots. A new slot that died, be it in part, has failed, whatever the gates say.
async fn look(context: &Context, route: &Route, id: u64, split: Split, elapsed: Duration) -> Result<Window> {
    let target = &route.target;
    let mut instance = inspect(context, target.slot).await?;
    if instance.is_degraded() && health::without_the_unwell(context, target.slot).await {
        instance = inspect(context, target.slot).await?;
    }
    if !instance.is_running() || instance.is_degraded() {
        return Err(Error::new(ErrorKind::Unhealthy, format!("{} died under traffic: {instance}", target.slot)));
    }
    let baseline = match &route.old {
        Some(old) if split.routes_to(old.slot) => Some((old.clone(), inspect(context, old.slot).await?)),
        _ => None,
    };
    Ok(Window { id, target: target.clone(), instance, baseline, split, elapsed, gates: context.gates.len() })
}

async fn inspect(context: &Context, slot: Slot) -> Result<Instance> {
    let limit = context.settings.check_timeout;
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}")));
    timeout(limit, context.runtime.inspect(slot)).await.unwrap_or_else(late)
}

/// Checks the new slot's health as before its traffic: gates may have too little to judge by, and some have none.
async fn check_health(context: &Context, window: &Window) -> Result<()> {
    let Window { target, instance, .. } = window;
    match probe::look(&*context.health, context.settings.check_timeout, target, instance).await {
        Probe::Healthy => Ok(()),
        Probe::Unhealthy(reason) => {
            let what = format!("{} is not healthy under traffic: {reason}", target.slot);
            Err(Error::new(ErrorKind::Unhealthy, what).with("health check", &context.health))
        }
    }
}

/// Asks all gates at the same time. One that cannot be asked, or does not answer in time, has not decided.
async fn judge(context: &Context, window: &Window) -> Vec<GateVerdict> {
    let limit = context.settings.check_timeout;
    let ask = context.gates.iter().map(async |gate| {
        let verdict = match timeout(limit, gate.judge(window)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => Verdict::Undecided { needs: format!("it could not be asked: {}", error.chain()) },
            Err(_) => Verdict::Undecided { needs: format!("no answer within {limit:?}") },
        };
        GateVerdict { gate: gate.to_string(), verdict }
    });
    join_all(ask).await
}

fn summary(verdicts: &[GateVerdict]) -> String {
    let said: Vec<_> = verdicts.iter().map(|said| format!("{}: {}", said.gate, said.verdict)).collect();
    if said.is_empty() { "no gates; the slot stayed up".to_owned() } else { said.join("; ") }
}

/// What keeps a soak from being over.
fn open(verdicts: &[GateVerdict], health: Option<String>) -> String {
    let not_passed = verdicts.iter().filter(|said| !matches!(said.verdict, Verdict::Pass { .. }));
    let said = not_passed.map(|said| format!("{} {}", said.gate, said.verdict)).chain(health);
    said.collect::<Vec<_>>().join("; ")
}
