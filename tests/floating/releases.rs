//! The whole document: deploy by push, look, release by moving the address, and back.

use std::time::Duration;

use bluegreen_testkit::lab::{Network, Outcome};

use crate::cloud::Variant;
use crate::world::{BLUE, GREEN, World};

/// Long enough for the client to see what is there, and what comes late.
const A_WHILE: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn on_digitalocean_a_release_is_pushed_looked_at_and_released_by_one_move() {
    the_whole_document(Variant::DigitalOcean).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_hetzner_a_release_is_pushed_looked_at_and_released_by_one_move() {
    the_whole_document(Variant::Hetzner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_own_servers_a_release_is_pushed_looked_at_and_released_by_one_move() {
    the_whole_document(Variant::OwnServers).await;
}

async fn the_whole_document(variant: Variant) {
    let Some(world) = World::start(variant).await else { return };
    let answered = |version: &str| Outcome::Answered(version.to_owned());
    world.run(&["setup"]).await;
    world.run(&["deploy", "v1"]).await;
    world.is_settled_on("v1").await;

    let watch = world.watch();
    world.run(&["deploy", "v2", "--stage"]).await;
    assert_eq!(world.ask(Network::V4).await, answered("v1"));
    assert_eq!([world.ask(BLUE).await, world.ask(GREEN).await], [answered("v1"), answered("v2")]);
    let seen = watch.stop().await;
    assert_eq!((seen.order(), seen.broken().len() + seen.unconnected().len()), (vec!["v1"], 0), "{seen}");

    for (verb, old, new) in [("promote", "v1", "v2"), ("rollback", "v2", "v1"), ("rollback", "v1", "v2")] {
        if let Some(api) = &world.api {
            api.forget_calls();
        }
        let watch = world.watch();
        tokio::time::sleep(A_WHILE).await;
        let told = world.run(&[verb]).await;
        let calls = world.api.as_ref().map(|api| api.calls().len());
        tokio::time::sleep(A_WHILE).await;
        let seen = watch.stop().await;
        let first = seen.first(new).zip(shift_began(&told)).map(|(first, began)| first as i64 - began as i64);
        let shift = told.lines().find(|line| line.trim_start().starts_with("shift-100 ")).unwrap().trim();
        println!(
            "{} {verb}: {shift}; first new answer {first:?} ms after the shift began; {seen}; calls of the API: {calls:?}",
            variant.flag()
        );
        seen.is_one_move(old, new);
        world.is_settled_on(new).await;
    }
    world.run(&["deploy", "v3"]).await;
    world.is_settled_on("v3").await;
}

/// By the tool's log, in milliseconds of the day: `2026-01-31T10:01:26.702Z sample_app: shift-100 ...`.
fn shift_began(told: &str) -> Option<u128> {
    let line = told.lines().find(|line| line.ends_with("shift-100 ..."))?;
    let (time, _) = line.split_once('T')?.1.split_once('Z')?;
    let (clock, millis) = time.split_once('.')?;
    let units: Vec<u128> = clock.split(':').filter_map(|unit| unit.parse().ok()).collect();
    let [hours, minutes, seconds] = units[..] else { return None };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis.parse::<u128>().ok()?)
}
