//! The deployer of a fleet dies at each of its calls, and a recovery follows.

use bluegreen_core::fleet::Wave;
use bluegreen_core::pipeline::Strategy;
use bluegreen_core::testing::Fault;

use super::yard::{Yard, deploy};
use crate::world::seconds;

fn waves() -> Strategy {
    Strategy::waves([Wave::members(1).soak(seconds(1)), Wave::all()])
}

async fn prepared(before: &[&str]) -> Yard {
    let yard = Yard::new(3);
    for version in before {
        deploy(&yard.pipeline(), version).await.unwrap();
    }
    yard
}

#[tokio::test(start_paused = true)]
async fn after_a_death_at_any_call_a_recovery_leaves_all_members_on_one_version() {
    for before in [&["1.0", "1.1"][..], &["1.1"], &[]] {
        die_at_each_call(before).await;
    }
}

async fn die_at_each_call(earlier: &[&str]) {
    let yard = prepared(earlier).await;
    let before = yard.faults.calls();
    let pipeline = yard.builder(yard.fleet()).strategy(waves()).build().unwrap();
    deploy(&pipeline, "1.2").await.unwrap();
    let calls = yard.faults.calls() - before;
    for call in 0..calls {
        for fault in [Fault::Die, Fault::ApplyThenDie] {
            let yard = prepared(earlier).await;
            let pipeline = yard.builder(yard.fleet()).strategy(waves()).build().unwrap();
            yard.faults.at(yard.faults.calls() + call, fault);
            if yard.faults.run(deploy(&pipeline, "1.2")).await.is_some() {
                continue;
            }
            let report =
                yard.recover().await.unwrap_or_else(|error| panic!("call {call}, {fault:?}: {}", error.render()));
            let served = yard.serve();
            let versions = [earlier.last().map(|version| (*version).to_owned()), Some("1.2".to_owned())];
            assert!(versions.contains(&served[0]), "{served:?}");
            let agree = served.iter().all(|other| *other == served[0]);
            assert!(agree, "call {call}, {fault:?}: {served:?}\n{report}");
            yard.assert_settled();
            assert_eq!(yard.set_aside(), Vec::<String>::new(), "call {call}, {fault:?}");
        }
    }
}
