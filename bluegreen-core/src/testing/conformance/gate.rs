use std::time::Duration;

use async_trait::async_trait;

use super::contract::{Contract, steps};
use super::cut_off::CutOff;
use crate::error::Result;
use crate::gate::{Gate, Verdict, Window};
use crate::types::OperationId;

/// What [`gate`] needs: a gate whose metrics can be made to say what is wanted.
#[async_trait]
pub trait GateFixture: Sync {
    /// The adapter.
    type Gate: Gate;

    /// A gate that has judged nothing yet.
    fn gate(&self) -> Self::Gate;

    /// A window of a first step without a baseline, at its beginning.
    fn window(&self) -> Window;

    /// Makes the metrics say nothing about the new slot from now on.
    async fn fall_silent(&self);

    /// Makes the metrics impossible to read from now on.
    async fn refuse(&self);

    /// Makes the metrics readable, and adds traffic that is plenty to pass.
    async fn serve_well(&self);

    /// Makes the metrics readable, and adds traffic that is plenty to fail when it comes again and again.
    async fn serve_badly(&self);

    /// Makes the metrics readable, and adds no traffic.
    async fn serve_nothing(&self);
}

/// Tests the contract of [`Gate`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn gate(fixture: &impl GateFixture) {
    let contract = Contract::of(&fixture.gate());
    let suite = Suite { fixture, contract };
    steps! {
        suite:
        never_passes_without_data,
        passes_by_what_is_inside_the_window,
        fails_and_forgets_with_the_operation,
        survives_cut_offs,
    }
}

/// Longer than any warm-up.
const LATER: Duration = Duration::from_secs(3600);

/// How often bad traffic is added until a gate must fail: one that expects bursts waits for more than one.
const AGAIN: usize = 20;

struct Suite<'a, F: GateFixture> {
    fixture: &'a F,
    contract: Contract,
}

impl<F: GateFixture> Suite<'_, F> {
    async fn never_passes_without_data(&self) {
        let mut window = self.fixture.window();
        let gate = self.fixture.gate();
        for round in 0..90 {
            match round / 30 {
                0 => self.fixture.fall_silent().await,
                1 => self.fixture.refuse().await,
                _ => self.fixture.serve_nothing().await,
            }
            window.elapsed += LATER;
            let clause = "without data, or when the source cannot be asked, there is no pass and no fail";
            let verdict = gate.judge(&window).await;
            self.contract.holds(clause, !is_pass(&verdict) && !is_fail(&verdict), verdict);
        }
    }

    async fn passes_by_what_is_inside_the_window(&self) {
        let c = &self.contract;
        let gate = self.fixture.gate();
        let mut window = self.fixture.window();
        self.fixture.serve_badly().await;
        let clause = "what happened before the window does not count";
        let verdict = self.look(&gate, &mut window).await;
        c.holds(clause, !is_pass(&verdict) && !is_fail(&verdict), verdict);
        self.fixture.serve_well().await;
        for _ in 0..5 {
            let clause = "good traffic inside the window passes, and asking again does not change that";
            let verdict = self.look(&gate, &mut window).await;
            c.holds(clause, is_pass(&verdict), verdict);
        }
        self.fixture.refuse().await;
        let clause = "when the source cannot be asked there is no pass, whatever was seen before";
        let verdict = self.look(&gate, &mut window).await;
        c.holds(clause, !is_pass(&verdict), verdict);
        self.fixture.serve_nothing().await;

        let mut next = Window { id: window.id + 1, elapsed: Duration::ZERO, ..window };
        for _ in 0..5 {
            let clause = "a new window does not pass by what happened before it";
            let verdict = self.look(&gate, &mut next).await;
            c.holds(clause, !is_pass(&verdict), verdict);
        }
        self.fixture.serve_well().await;
        let verdict = self.look(&gate, &mut next).await;
        c.holds("a new window passes by what happens inside it", is_pass(&verdict), verdict);
    }

    async fn fails_and_forgets_with_the_operation(&self) {
        let c = &self.contract;
        let gate = self.fixture.gate();
        let mut window = self.fixture.window();
        self.fixture.serve_nothing().await;
        self.look(&gate, &mut window).await.ok();
        let mut verdict = self.look(&gate, &mut window).await;
        for _ in 0..AGAIN {
            self.fixture.serve_badly().await;
            verdict = self.look(&gate, &mut window).await;
            if is_fail(&verdict) {
                break;
            }
        }
        c.holds("bad traffic inside the window fails, at once or in the end", is_fail(&verdict), verdict);

        let mut next = Window { id: window.id + 1, elapsed: Duration::ZERO, ..window };
        next.target.operation = match OperationId::new("the-next-one") {
            Ok(operation) => operation,
            Err(error) => c.broken("the suite uses valid names", error),
        };
        let clause = "a new operation starts from nothing";
        for _ in 0..5 {
            let verdict = self.look(&gate, &mut next).await;
            c.holds(clause, !is_fail(&verdict) && !is_pass(&verdict), verdict);
        }
        self.fixture.serve_well().await;
        let verdict = self.look(&gate, &mut next).await;
        c.holds(clause, is_pass(&verdict), verdict);
    }

    async fn survives_cut_offs(&self) {
        let gate = self.fixture.gate();
        let mut window = self.fixture.window();
        self.fixture.serve_nothing().await;
        self.look(&gate, &mut window).await.ok();
        self.fixture.serve_well().await;
        for cut_off in CutOff::usual() {
            let _ = cut_off.run(gate.judge(&window)).await;
            let clause = "a look that was cut off loses nothing of what the window holds";
            let verdict = self.look(&gate, &mut window).await;
            self.contract.holds(clause, is_pass(&verdict), verdict);
        }
    }

    async fn look(&self, gate: &F::Gate, window: &mut Window) -> Result<Verdict> {
        window.elapsed += LATER;
        gate.judge(window).await
    }
}

fn is_pass(verdict: &Result<Verdict>) -> bool {
    matches!(verdict, Ok(Verdict::Pass { .. }))
}

fn is_fail(verdict: &Result<Verdict>) -> bool {
    matches!(verdict, Ok(Verdict::Fail { .. }))
}
