//! The example `staged-migrations` as a user runs it, and its migration by the suite of the trait.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use async_trait::async_trait;
use bluegreen_core::state::State;
use bluegreen_core::testing::conformance::{self, MigratorFixture};
use bluegreen_core::{ErrorKind, Migrator, OperationId, Phase, Release, ServiceName, Slot, Target};
use bluegreen_examples::customers::clients::first_customers;
use bluegreen_examples::customers::migration::PeopleMigration;
use bluegreen_examples::customers::stage::Stage;
use bluegreen_examples::customers::table::{self, Customers};
use tempfile::TempDir;

/// Cargo builds the examples of a package before it runs its tests, unless it was told to build one test only.
fn binary() -> PathBuf {
    let service = Path::new(env!("CARGO_BIN_EXE_customers-service"));
    let binary = service.parent().unwrap().join("examples/staged-migrations");
    assert!(binary.exists(), "build the examples first: cargo build --examples");
    binary
}

#[test]
fn nothing_is_lost_or_read_wrong_until_contract_each_version_can_go_back_and_afterwards_rollback_refuses() {
    let folder = tempfile::tempdir().unwrap();
    // The service's binary is built already: by the cargo that runs this test.
    let output = Command::new(binary()).env_remove("CARGO").arg("--dir").arg(folder.path()).output().unwrap();
    let told = format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{told}");
    let mut rest = told.rsplit_once("deploy of customers 1.0 (blue): succeeded").unwrap().1;
    for part in [
        "deploy of customers 2.0 (green): succeeded",
        "back to 1.0: succeeded",
        "forth to 2.0: succeeded",
        "deploy of customers 3.0 (blue): succeeded",
        "back to 2.0: succeeded",
        "forth to 3.0: succeeded",
        "deploy of customers 4.0 (green): succeeded",
        "back to 3.0: succeeded",
        "forth to 4.0: succeeded",
        "migrate of customers 4.0 (green): succeeded",
        "rollback is refused from now on",
        "the contract phase of the migrations has run",
        "0 requests failed, or read another name than the one that was written last",
    ] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is missing, or out of order:\n{told}")).1;
    }
    for version in ["1.0", "2.0", "3.0", "4.0"] {
        assert!(told.contains(&format!("requests answered by {version}")), "{told}");
    }

    let state = State::from_bytes(&std::fs::read(folder.path().join("state/customers.json")).unwrap()).unwrap();
    assert!(!state.rollback_safe && state.lease.is_none() && state.live == Some(Slot::Green), "{state:?}");
    let database = table::open(&folder.path().join("data/shop.db")).unwrap();
    let tables = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name)";
    let tables: String = database.query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(tables, "migrations,people");
    let count: i64 = database.query_row("SELECT count(*) FROM people", [], |row| row.get(0)).unwrap();
    assert!(count > 2_000, "new customers were added to the 2,000: {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_the_one_before_is_refused_and_so_is_contract_while_the_old_table_is_written() {
    let data = Data::new().await;
    let refused = async |phase, stage: Stage| {
        let error = data.open().await.migrate(phase, &target(stage)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        error.to_string()
    };
    assert!(refused(Phase::Expand, Stage::ReadsNew).await.contains("deploy 2.0 first"));
    data.open().await.migrate(Phase::Expand, &target(Stage::WritesBoth)).await.unwrap();
    assert!(refused(Phase::Expand, Stage::New).await.contains("deploy 3.0 first"));
    for stage in [Stage::Old, Stage::WritesBoth, Stage::ReadsNew] {
        assert!(refused(Phase::Contract, stage).await.contains("deploy 4.0 first"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_keeps_what_is_written_meanwhile_and_repairs_what_the_old_version_wrote_alone() {
    let data = Data::new().await;
    data.open().await.migrate(Phase::Expand, &target(Stage::WritesBoth)).await.unwrap();
    let as_version = |stage| Customers::open(&data.file(), stage).unwrap();
    as_version(Stage::WritesBoth).keep(7, "Both", "Tables").unwrap();
    as_version(Stage::Old).keep(7, "Rolled", "Back").unwrap();
    let copying = tokio::spawn({
        let migration = data.open().await;
        async move { migration.migrate(Phase::Expand, &target(Stage::ReadsNew)).await }
    });
    let both = as_version(Stage::WritesBoth);
    let mut number = 0;
    while !copying.is_finished() {
        number += 1;
        both.keep(number % 500 + 1, "While", &format!("copied-{number}")).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    copying.await.unwrap().unwrap();
    let (old, new) = (as_version(Stage::Old), as_version(Stage::New));
    for id in 1..=500 {
        let name = old.name(id).unwrap();
        assert!(name.is_some());
        assert_eq!(new.name(id).unwrap(), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_version_wrote_after_a_third_one_that_did_not_stay_is_there_for_the_next_third_one() {
    for again in [&[Stage::Old, Stage::WritesBoth][..], &[Stage::WritesBoth][..]] {
        let data = Data::new().await;
        let expand = async |stage| data.open().await.migrate(Phase::Expand, &target(stage)).await.unwrap();
        expand(Stage::WritesBoth).await;
        expand(Stage::ReadsNew).await;
        Customers::open(&data.file(), Stage::Old).unwrap().keep(7, "Written", "Alone").unwrap();
        for stage in again {
            expand(*stage).await;
        }
        assert!(
            data.open().await.pending(&target(Stage::ReadsNew)).await.unwrap().is_some_and(|parts| !parts.is_empty())
        );
        expand(Stage::ReadsNew).await;
        let read = Customers::open(&data.file(), Stage::ReadsNew).unwrap().name(7).unwrap();
        assert!(read.is_some());
        assert_eq!(read, Customers::open(&data.file(), Stage::Old).unwrap().name(7).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migration_keeps_the_contract() {
    conformance::migrator(&Data::new().await).await;
}

fn target(stage: Stage) -> Target {
    let release = Release::new(stage.version()).unwrap();
    Target::new(ServiceName::new("customers").unwrap(), Slot::Green, release, OperationId::new("op-1").unwrap())
}

/// 500 customers, at the point at which 3.0 is deployed.
struct Data(TempDir);

impl Data {
    async fn new() -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        data.open().await.first_tables().await.unwrap();
        let customers = Customers::open(&data.file(), Stage::Old).unwrap();
        for (id, name) in first_customers(500) {
            let (first_name, last_name) = name.split_once(' ').unwrap();
            customers.keep(id, first_name, last_name).unwrap();
        }
        data
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("shop.db")
    }

    fn all(&self, query: &str) -> String {
        let database = table::open(&self.file()).unwrap();
        database.query_row(query, [], |row| row.get::<_, Option<String>>(0)).ok().flatten().unwrap_or_default()
    }
}

#[async_trait]
impl MigratorFixture for Data {
    type Migrator = PeopleMigration;

    async fn open(&self) -> PeopleMigration {
        PeopleMigration::new(self.file())
    }

    fn target(&self) -> Target {
        target(Stage::ReadsNew)
    }

    async fn reset(&self) {
        let database = table::open(&self.file()).unwrap();
        database.execute_batch("DROP TABLE IF EXISTS people; DELETE FROM migrations").unwrap();
        self.open().await.migrate(Phase::Expand, &target(Stage::WritesBoth)).await.unwrap();
    }

    async fn data(&self) -> String {
        self.all(
            "SELECT (SELECT group_concat(id || name) FROM customers) || (SELECT group_concat(name) FROM migrations)",
        ) + &self.all("SELECT group_concat(id || first_name || last_name) FROM people")
    }

    async fn old_version_works(&self) -> bool {
        let live = Customers::open(&self.file(), Stage::WritesBoth).unwrap();
        live.name(1).unwrap().is_some() && live.keep(1, "Customer", "of-old-1").is_ok()
    }

    async fn is_expanded(&self) -> bool {
        self.all("SELECT group_concat(name) FROM migrations").contains("copy")
    }

    async fn is_contracted(&self) -> bool {
        self.all("SELECT name FROM sqlite_schema WHERE name = 'customers'").is_empty()
    }

    /// That is 4.0's.
    fn has_contract_phase(&self) -> bool {
        false
    }
}
