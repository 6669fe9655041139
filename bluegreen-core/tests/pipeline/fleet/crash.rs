//! The deployer of a fleet dies at each of its calls, and a recovery follows.

use bluegreen_core::fleet::Wave;
use bluegreen_core::pipeline::Strategy;
use bluegreen_core::testing::Fault;

use super::yard::{Yard, deploy};
use crate::world::seconds;

fn waves() -> Strategy {
    Strategy::waves([Wave::members(1).soak(seconds(1)), Wave::all()])
}

async fn prepared() -> Yard {
    let yard = Yard::new(3);
    for version in ["1.0", "1.1"] {
        deploy(&yard.pipeline(), version).await.unwrap();
    }
    yard
}

#[tokio::test(start_paused = true)]
async fn after_a_death_at_any_call_a_recovery_leaves_all_members_on_one_version() {
    let yard = prepared().await;
    let before = yard.faults.calls();
    let pipeline = yard.builder(yard.fleet()).strategy(waves()).build().unwrap();
    deploy(&pipeline, "1.2").await.unwrap();
    let calls = yard.faults.calls() - before;
    for call in 0..calls {
        for fault in [Fault::Die, Fault::ApplyThenDie] {
            let yard = prepared().await;
            let pipeline = yard.builder(yard.fleet()).strategy(waves()).build().unwrap();
            yard.faults.at(yard.faults.calls() + call, fault);
            if yard.faults.run(deploy(&pipeline, "1.2")).await.is_some() {
                continue;
            }
            let report =
                yard.recover().await.unwrap_or_else(|error| panic!("call {call}, {fault:?}: {}", error.render()));
            let served = yard.serve();
            let one = served[0].clone().unwrap();
            assert!(["1.1", "1.2"].contains(&one.as_str()), "{served:?}");
            assert!(
                served.iter().all(|other| other.as_deref() == Some(&*one)),
                "call {call}, {fault:?}: {served:?}\n{report}"
            );
            yard.assert_settled();
            assert_eq!(yard.set_aside(), Vec::<String>::new(), "call {call}, {fault:?}");
        }
    }
}
