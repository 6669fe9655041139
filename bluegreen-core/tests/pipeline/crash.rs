//! Every call of a deploy, a promotion and a rollback, times every fault, each followed by a recovery.

use std::time::Duration;

use bluegreen_core::pipeline::{Contract, Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, ScriptedGate};
use bluegreen_core::{Pipeline, Verdict, When};

use crate::world::{World, release, seconds};

#[derive(Debug, Clone, Copy)]
enum Story {
    First,
    Second,
    Third,
    Rollback,
    RollbackOfCanary,
    StageAndPromote,
    WithContract,
    RetireNow,
}

const STORIES: [Story; 8] = [
    Story::First,
    Story::Second,
    Story::Third,
    Story::Rollback,
    Story::RollbackOfCanary,
    Story::StageAndPromote,
    Story::WithContract,
    Story::RetireNow,
];

fn canary() -> Strategy {
    Strategy::canary([TrafficStep::new(10, seconds(3)), TrafficStep::new(100, Duration::ZERO)]).bake(seconds(3))
}

fn pipeline(world: &World, story: Story) -> Pipeline {
    let builder = world.builder().strategy(canary()).migrator(world.migrator(When::BeforeStart));
    let builder = match story {
        Story::WithContract => builder.contract(Contract::AfterBake),
        _ => builder,
    };
    world.with_hooks(builder, &world.faults).build().unwrap()
}

/// What was there before the story begins.
async fn before(world: &World, story: Story) {
    let pipeline = pipeline(world, Story::Second);
    let earlier = match story {
        Story::First => 0,
        Story::Second | Story::RollbackOfCanary | Story::WithContract | Story::StageAndPromote => 1,
        Story::Third | Story::Rollback | Story::RetireNow => 2,
    };
    for number in 1..=earlier {
        pipeline.deploy(release(&number.to_string())).await.unwrap();
    }
    if let Story::RollbackOfCanary = story {
        let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
        let held = world.builder().strategy(canary()).gate(gate).build().unwrap().deploy(release("9")).await;
        assert_eq!(held.unwrap_err().report().unwrap().outcome.word(), "held");
    }
}

async fn tell(pipeline: &Pipeline, story: Story) -> bluegreen_core::Result<()> {
    match story {
        Story::First | Story::Second | Story::Third | Story::WithContract => {
            pipeline.deploy(release("9")).await?;
        }
        Story::Rollback | Story::RollbackOfCanary => {
            pipeline.rollback().await?;
        }
        Story::StageAndPromote => {
            pipeline.stage(release("9")).await?;
            pipeline.promote().await?;
        }
        Story::RetireNow => {
            pipeline.retire_now().await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_any_fault_at_any_call_a_recovery_settles_everything() {
    let mut cases = 0;
    for story in STORIES {
        let calls = {
            let world = World::new();
            before(&world, story).await;
            let from = world.faults.calls();
            tell(&pipeline(&world, story), story).await.unwrap();
            world.faults.calls() - from
        };
        for fault in Fault::ALL {
            for call in 0..calls {
                let world = World::new();
                before(&world, story).await;
                world.faults.at(world.faults.calls() + call, fault);
                let result = world.faults.run(tell(&pipeline(&world, story), story)).await;
                let what = format!("{story:?}, {fault:?} at call {call}: {result:?}");
                world.faults.clear();
                println!("{what}");
                if matches!(result, Some(Ok(()))) {
                    assert!(world.state().lease.is_none(), "{what}");
                }
                let recovered = world.recover().await;
                assert!(recovered.is_ok(), "{what}: {recovered:?}");
                // A canary that is still held is a state of its own: only an operation that ran may leave it.
                if world.router.split().is_none_or(|split| split.sole().is_some()) {
                    world.assert_settled().await;
                } else {
                    assert!(matches!(story, Story::RollbackOfCanary), "{what}: {:?}", world.router.split());
                }
                world.assert_hooks_ran_once();
                cases += 1;
            }
        }
    }
    assert!(cases > 1000, "{cases} cases");
}
