use std::time::Duration;

use bluegreen_core::fleet::{Fleet, FleetBuilder, Member, Wave};
use bluegreen_core::memory::{MemoryRouter, MemoryRuntime};
use bluegreen_core::pipeline::Strategy;

use super::yard::Yard;

fn of(names: &[&str]) -> FleetBuilder {
    names.iter().fold(Fleet::builder(), |fleet, name| fleet.member(*name, MemoryRuntime::new(), MemoryRouter::new()))
}

#[test]
fn a_fleet_that_can_never_deploy_is_refused_with_a_sentence() {
    let with = |member: Member| of(&["web1"]).with_member(member);
    let plain = || Member::new("web2", MemoryRuntime::new());
    for (bad, told) in [
        (Fleet::builder(), "a fleet needs a member"),
        (of(&["web1", "web2", "web1"]), "two members are named web1"),
        (of(&["web 1"]), "made of A-Z"),
        (of(&["-oProxyCommand"]), "starts with a letter"),
        (with(plain()), "1 of 2 members have a router of their own"),
        (with(plain().router(MemoryRouter::new()).weight(0)), "the weight of web2 is zero"),
        (Fleet::builder().with_member(plain().address("10.0.0.1;reload")), "neither a host name nor an IP address"),
        (with(plain().router(MemoryRouter::new()).address("10.0.0.1")), "leave out the address"),
        (
            with(plain().router(MemoryRouter::new()).health(bluegreen_core::memory::MemoryHealth::new())),
            "1 of 2 members have a health check",
        ),
        (of(&["web1", "web2"]).max_failures(2), "all 2 members may fail"),
        (of(&["web1", "web2"]).max_failures_percent(100), "all 2 members may fail"),
        (of(&["web1"]).max_failures_percent(101), "above 100"),
        (of(&["web1"]).max_parallel(0), "is zero"),
        (of(&["web1"]).deadline(Duration::ZERO), "is zero"),
    ] {
        let error = bad.build().unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn waves_that_a_fleet_cannot_do_are_refused_with_a_sentence() {
    let yard = Yard::new(3);
    let refused = |strategy| yard.builder(yard.fleet()).strategy(strategy).build().unwrap_err().to_string();
    assert!(refused(Strategy::waves([Wave::members(1)])).contains("do not end at all members"));
    assert!(refused(Strategy::waves([Wave::members(1), Wave::percent(20), Wave::all()])).contains("reaches no more"));
    assert!(refused(Strategy::waves([Wave::members(1).share(10), Wave::all()])).contains("divide"));
    let without = crate::world::World::new().builder().strategy(Strategy::waves([Wave::all()])).build().unwrap_err();
    assert!(without.to_string().contains("waves are of a fleet"), "{without}");
    let fleet = yard.fleet().build().unwrap();
    let builder = || crate::world::World::new().builder().fleet(&fleet);
    builder().build().unwrap();
    assert!(builder().build().unwrap_err().to_string().contains("belongs to a pipeline already"));
}

#[test]
fn members_are_in_order_canaries_first_and_then_zone_by_zone() {
    let member =
        |name: &str, zone: &str| Member::new(name, MemoryRuntime::new()).router(MemoryRouter::new()).zone(zone);
    let fleet = Fleet::builder()
        .with_member(member("a1", "a"))
        .with_member(member("b1", "b"))
        .with_member(member("a2", "a"))
        .with_member(member("b2", "b").canary())
        .build()
        .unwrap();
    let names: Vec<_> = fleet.names().iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["b2", "a1", "a2", "b1"]);
}
