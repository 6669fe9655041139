//! Holding a share of traffic while the gates judge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::builder::Parts;
use super::course::Course;
use super::defaults::OBSERVE_LIMIT;
use super::narrator::millis;
use super::report::short;
use super::session::{Halt, Session};
use super::strategy::Undecided;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{GateVerdict, What};
use crate::gate::{Verdict, Window};
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

/// Holds the split for `soak` at least, and until every gate passes, for `max` at most. Fails at once when a gate fails
/// or the slot dies.
///
/// The end is written as absolute time: a recovery holds what is left of it, never less; and never more than the whole,
/// should it be on a machine whose clock is behind.
pub(super) async fn step(
    session: &mut Session,
    course: &Course,
    step: Step,
    split: Split,
    soak: Duration,
    max: Duration,
) -> Result<(), Halt> {
    let (parts, narrator) = (session.parts.clone(), session.narrator.clone());
    let now = parts.clock.now();
    let resumed = session.operation().await.filter(|operation| operation.started(step));
    let whole = now.plus(soak);
    let until = resumed.and_then(|operation| operation.soak_until).map_or(whole, |until| until.min(whole));
    let soak = until.since(now);
    let ends = |state: &mut State| {
        if let Some(operation) = &mut state.operation {
            operation.soak_until = Some(until);
        }
    };
    let work = async {
        let began = Instant::now();
        let id = WINDOWS.fetch_add(1, Ordering::Relaxed);
        let (mut blind, mut told) = (0, false);
        loop {
            let window = match look(&parts, course, id, split, began.elapsed()).await {
                Err(error) if error.kind() != ErrorKind::Unhealthy && blind < BLIND_LOOKS => {
                    blind += 1;
                    narrator.say(What::Note { text: format!("{step}: could not look: {}", error.chain()) });
                    sleep(parts.settings.gate_interval).await;
                    continue;
                }
                looked => looked?,
            };
            blind = 0;
            let verdicts = judge(&parts, &window).await;
            let left = soak.saturating_sub(began.elapsed());
            narrator.say(What::Soaking { remaining_millis: millis(left), verdicts: verdicts.clone() });
            if let Some(said) = verdicts.iter().find(|said| matches!(said.verdict, Verdict::Fail { .. })) {
                return Err(Error::new(ErrorKind::Unhealthy, said.verdict.to_string()).with("gate", &said.gate));
            }
            let all_pass = verdicts.iter().all(|said| matches!(said.verdict, Verdict::Pass { .. }));
            if left.is_zero() && all_pass {
                narrator.detail(summary(&verdicts));
                return Ok(Held::Through);
            }
            let extended = max.max(soak).saturating_sub(began.elapsed());
            if extended.is_zero() {
                narrator.detail(summary(&verdicts));
                let cannot = verdicts.iter().any(|said| matches!(said.verdict, Verdict::Hold { .. }));
                let reason = open(&verdicts);
                return Ok(if cannot { Held::CannotJudge(reason) } else { Held::Undecided(reason) });
            }
            if left.is_zero() && !std::mem::replace(&mut told, true) {
                let text = format!("{step}: extended by at most {}: {}", short(extended), open(&verdicts));
                narrator.say(What::Note { text });
            }
            let next = if left.is_zero() { extended } else { left };
            sleep(parts.settings.gate_interval.min(next)).await;
        }
    };
    let limit = max.max(soak) + OBSERVE_LIMIT;
    let cleared = |state: &mut State, _: &Held| {
        if let Some(operation) = &mut state.operation {
            operation.soak_until = None;
        }
    };
    match session.recorded_step(step, limit, ends, work, cleared).await? {
        Held::Through => Ok(()),
        // Whatever is done about a lack of evidence: a sick environment is no time to move traffic.
        Held::CannotJudge(reason) => Err(Halt::Held(format!("{step}: {reason}"))),
        Held::Undecided(reason) => match parts.strategy.undecided {
            Undecided::Hold => Err(Halt::Held(format!("{step}: {reason}"))),
            Undecided::Abort => {
                let what = format!("the gates were still undecided after the longest soak: {reason}");
                Err(Halt::Failed(Error::new(ErrorKind::Timeout, what).trying(step.to_string())))
            }
            Undecided::Accept => {
                session.narrator.note(format!("{step}: accepted without a verdict: {reason}"));
                Ok(())
            }
        },
    }
}

/// Looks at both slots. A new slot that died, be it in part, has failed, whatever the gates say.
async fn look(parts: &Parts, course: &Course, id: u64, split: Split, elapsed: Duration) -> Result<Window> {
    let target = &course.target;
    let instance = inspect(parts, target.slot).await?;
    if !instance.is_running() || instance.is_degraded() {
        return Err(Error::new(ErrorKind::Unhealthy, format!("{} died under traffic: {instance}", target.slot)));
    }
    let baseline = match &course.old {
        Some(old) if split.routes_to(old.slot) => Some((old.clone(), inspect(parts, old.slot).await?)),
        _ => None,
    };
    Ok(Window { id, target: target.clone(), instance, baseline, split, elapsed, gates: parts.gates.len() })
}

async fn inspect(parts: &Parts, slot: Slot) -> Result<Instance> {
    let limit = parts.settings.check_timeout;
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}")));
    timeout(limit, parts.runtime.inspect(slot)).await.unwrap_or_else(late)
}

/// Asks all gates at the same time. One that cannot be asked, or does not answer in time, has not decided.
async fn judge(parts: &Parts, window: &Window) -> Vec<GateVerdict> {
    let limit = parts.settings.check_timeout;
    let ask = parts.gates.iter().map(async |gate| {
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

fn open(verdicts: &[GateVerdict]) -> String {
    let not_passed = verdicts.iter().filter(|said| !matches!(said.verdict, Verdict::Pass { .. }));
    let said: Vec<_> = not_passed.map(|said| format!("{} {}", said.gate, said.verdict)).collect();
    said.join("; ")
}
