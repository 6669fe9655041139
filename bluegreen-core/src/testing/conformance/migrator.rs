use async_trait::async_trait;

use super::contract::{Contract, steps};
use super::cut_off::CutOff;
use crate::error::{Effect, ErrorKind};
use crate::migrator::{Migrator, Phase};
use crate::types::Target;

/// What [`migrator`] needs: data in the state before a migration, and another way to see it.
#[async_trait]
pub trait MigratorFixture: Sync {
    /// The adapter.
    type Migrator: Migrator;

    /// A new handle on the data.
    async fn open(&self) -> Self::Migrator;

    /// The release to migrate for, at the point at which its expand phase runs.
    fn target(&self) -> Target;

    /// Puts the data back to before any migration.
    async fn reset(&self);

    /// Everything that a migration may change, seen past the migrator, as a text. It is the oracle of the suite.
    async fn data(&self) -> String;

    /// Whether the live version works on the data as it is.
    async fn old_version_works(&self) -> bool;

    /// Whether what the new version needs is there.
    async fn is_expanded(&self) -> bool;

    /// Whether what only the old version needs is gone. Stays false where contract has nothing to do.
    async fn is_contracted(&self) -> bool;

    /// Whether there is anything to contract.
    fn has_contract_phase(&self) -> bool {
        true
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// Tests the contract of [`Migrator`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn migrator(fixture: &impl MigratorFixture) {
    let migrator = fixture.open().await;
    let suite = Suite { fixture, contract: Contract::of(&migrator), migrator, target: fixture.target() };
    steps! {
        suite:
        tells_what_is_pending_without_doing_it,
        expands_and_contracts_once,
        reverts_or_says_that_it_cannot,
        survives_cut_offs,
    }
}

struct Suite<'a, F: MigratorFixture> {
    fixture: &'a F,
    contract: Contract,
    migrator: F::Migrator,
    target: Target,
}

impl<F: MigratorFixture> Suite<'_, F> {
    async fn tells_what_is_pending_without_doing_it(&self) {
        let c = &self.contract;
        self.fixture.reset().await;
        let before = self.fixture.data().await;
        c.same("when is constant", self.migrator.when(), self.fixture.open().await.when());
        let clause = "pending names the migrations that expand would apply, and applies none";
        let pending = c.ok(clause, self.migrator.pending(&self.target).await);
        c.holds(clause, pending.as_ref().is_none_or(|pending| !pending.is_empty()), &pending);
        c.same(clause, self.fixture.data().await, before);
    }

    async fn expands_and_contracts_once(&self) {
        let c = &self.contract;
        self.fixture.reset().await;
        let clause = "expand adds what the new version needs, and the old one lives with it";
        c.ok(clause, self.migrator.migrate(Phase::Expand, &self.target).await);
        c.holds(clause, self.fixture.is_expanded().await, "not expanded");
        c.holds(clause, self.fixture.old_version_works().await, "the old version does not work");
        c.holds("expand removes nothing", !self.fixture.is_contracted().await, "contracted");
        let clause = "nothing is pending after expand";
        let pending = c.ok(clause, self.fixture.open().await.pending(&self.target).await);
        c.holds(clause, pending.as_ref().is_none_or(Vec::is_empty), &pending);
        self.repeat(Phase::Expand).await;
        if self.fixture.has_contract_phase() {
            let clause = "contract removes what only the old version needs";
            c.ok(clause, self.migrator.migrate(Phase::Contract, &self.target).await);
            c.holds(clause, self.fixture.is_contracted().await, "not contracted");
            c.holds("contract keeps what the new version needs", self.fixture.is_expanded().await, "not expanded");
            self.repeat(Phase::Contract).await;
        }
    }

    async fn repeat(&self, phase: Phase) {
        let clause = format!("repeating {phase} when it is complete changes nothing");
        let before = self.fixture.data().await;
        for _ in 0..2 {
            self.contract.ok(&clause, self.fixture.open().await.migrate(phase, &self.target).await);
            self.contract.same(&clause, self.fixture.data().await, before.clone());
        }
    }

    async fn reverts_or_says_that_it_cannot(&self) {
        let c = &self.contract;
        self.fixture.reset().await;
        let before = self.fixture.data().await;
        c.ok("expand", self.migrator.migrate(Phase::Expand, &self.target).await);
        let expanded = self.fixture.data().await;
        match self.migrator.revert(&self.target).await {
            Ok(()) => c.same("revert undoes expand", self.fixture.data().await, before),
            Err(error) => {
                let clause = "a migrator that cannot revert says Unsupported, and changes nothing";
                let says_so = error.kind() == ErrorKind::Unsupported && error.effect() == Effect::NotApplied;
                c.holds(clause, says_so, error);
                c.same(clause, self.fixture.data().await, expanded);
            }
        }
    }

    async fn survives_cut_offs(&self) {
        let c = &self.contract;
        self.fixture.reset().await;
        c.ok("expand", self.migrator.migrate(Phase::Expand, &self.target).await);
        let expanded = self.fixture.data().await;
        if self.fixture.has_contract_phase() {
            c.ok("contract", self.migrator.migrate(Phase::Contract, &self.target).await);
        }
        let contracted = self.fixture.data().await;
        for cut_off in self.fixture.cut_offs() {
            self.fixture.reset().await;
            let _ = cut_off.run(self.migrator.pending(&self.target)).await;
            let _ = cut_off.run(self.migrator.migrate(Phase::Expand, &self.target)).await;
            let clause = "the old version lives with an expand that was cut off";
            c.holds(clause, self.fixture.old_version_works().await, cut_off);
            let clause = "an expand that was cut off is completed by the next call";
            c.ok(clause, self.fixture.open().await.migrate(Phase::Expand, &self.target).await);
            c.same(clause, self.fixture.data().await, expanded.clone());
            if self.fixture.has_contract_phase() {
                let clause = "a contract that was cut off is completed by the next call";
                let _ = cut_off.run(self.migrator.migrate(Phase::Contract, &self.target)).await;
                c.ok(clause, self.fixture.open().await.migrate(Phase::Contract, &self.target).await);
                c.same(clause, self.fixture.data().await, contracted.clone());
            }
        }
    }
}
