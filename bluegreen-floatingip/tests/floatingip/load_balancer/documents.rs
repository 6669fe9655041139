//! What is in the clouds' documents, and what is not.

use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_testkit::fakes::{DigitalOceanLb, Spec, sorted};
use serde_json::{Value, json};

use super::setup::{OnDigitalOcean, OnHetzner};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// In every answer of the fakes lists begin elsewhere, and there are members that no document names, some of which change
/// by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn lists_in_another_order_and_members_that_are_added_to_answers_disturb_no_switch() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    for router in [on.by_servers(), on.by_ports()] {
        router.shift(Some(BLUE), GREEN).await.unwrap();
        router.shift(Some(GREEN), BLUE).await.unwrap();
    }
    assert_eq!(sorted(&on.lb.balancer()["of_tomorrow"]), json!({ "kept": [1, 2] }));
    let rules = on.lb.balancer()["forwarding_rules"].as_array().unwrap().clone();
    assert!(rules.iter().all(|rule| rule["of_tomorrow"] == rule["entry_port"]), "{rules:?}");

    let on = OnHetzner::start(&[11, 12]).await;
    let before = on.lb.balancer();
    for router in [on.by_servers(), on.by_ports()] {
        router.shift(Some(BLUE), GREEN).await.unwrap();
        router.shift(Some(GREEN), BLUE).await.unwrap();
    }
    assert_eq!(sorted(&on.lb.balancer()), sorted(&before));
}

/// A write replaces everything, so each of them would be undone by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_documented_setting_right_before_the_write_is_a_conflict_that_names_it() {
    let base = Spec::digitalocean().component("load_balancer_base")["properties"].as_object().unwrap();
    let settable = base.iter().filter(|(_, schema)| schema["readOnly"] != true).map(|(name, _)| name.clone());
    // Not in an answer about this kind of balancer, and one that cannot be written beside `size_unit`.
    let settable: Vec<String> = settable.filter(|name| !["glb_settings", "size"].contains(&name.as_str())).collect();
    assert!(settable.len() > 15, "{settable:?}");
    for name in settable {
        let on = OnDigitalOcean::start(&[11, 12]).await;
        on.server.answer_freely();
        let changed = name.clone();
        on.lb.change_by_hand(|balancer| {
            balancer["domains"] =
                json!([{ "name": "shop.example.com", "is_managed": true, "certificate_id": "892071a0" }]);
            balancer["target_load_balancer_ids"] = json!(["7dbf91fe-cbdb-48dc-8290-c3a181554905"]);
        });
        on.lb.edit_after(1, move |balancer| alter(&mut balancer[&changed]));
        let error = on.by_ports().shift(Some(BLUE), GREEN).await.expect_err(&name);
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{name}: {error}");
        assert!(error.to_string().contains(&format!(" {name}")), "{name}: {error}");
        assert_eq!(on.server.count("PUT", ""), 0, "{name}");
    }
}

/// Changes every value in it.
fn alter(value: &mut Value) {
    match value {
        Value::Bool(yes) => *yes = !*yes,
        Value::Number(number) => *value = json!(number.as_u64().unwrap() + 1),
        Value::String(text) => text.push('x'),
        Value::Array(items) => items.iter_mut().for_each(alter),
        Value::Object(fields) => fields.values_mut().for_each(alter),
        Value::Null => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_comes_right_before_the_write_is_kept_and_leads_to_the_new_slot() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.edit_after(1, |balancer| {
        let mut rule = balancer["forwarding_rules"][0].clone();
        (rule["entry_port"], rule["of_tomorrow"]) = (json!(8080), json!(8080));
        balancer["forwarding_rules"].as_array_mut().unwrap().push(rule);
    });
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    let balancer = on.lb.balancer();
    let rules = balancer["forwarding_rules"].as_array().unwrap();
    let leads = |port| rules.iter().find(|rule| rule["entry_port"] == port).unwrap()["target_port"].clone();
    assert_eq!((rules.len(), leads(8080), leads(80), leads(22)), (4, json!(3001), json!(3001), json!(22)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_whose_project_is_not_told_is_never_written() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.hide_project();
    let before = on.lb.balancer();
    for error in
        [on.by_ports().plan(Slot::Green).await.unwrap_err(), on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("project:read"), "{error}");
    }
    assert_eq!((on.server.count("PUT", ""), on.lb.balancer()), (0, before));
    // Droplets are exchanged without it.
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    assert_ne!(on.lb.balancer()["project_id"], DigitalOceanLb::DEFAULT_PROJECT);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_domains_say_of_themselves_and_what_is_not_set_is_not_written() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let domain = json!({ "name": "shop.example.com", "is_managed": true, "certificate_id": "892071a0" });
    let mut shown = domain.clone();
    shown["status"] = json!("active");
    on.lb.change_by_hand(|balancer| balancer["domains"] = json!([shown]));
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.balancer()["domains"], json!([domain]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_selects_by_tag_is_switched_by_ports_and_keeps_its_tag() {
    let on = OnDigitalOcean::start(&[]).await;
    on.lb.change_by_hand(|balancer| balancer["tag"] = json!("web"));
    on.by_ports().plan(Slot::Green).await.unwrap();
    let router =
        bluegreen_floatingip::LoadBalancerRouter::builder(on.balancer()).ports(super::setup::PORTS).build().unwrap();
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.balancer()["tag"], "web");
}

/// As the documentation of `DigitalOceanBalancer` names them.
#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_that_the_documentation_names_are_enough() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.grant(&["load_balancer:read", "load_balancer:update", "droplet:read", "project:read"]);
    for router in [on.by_servers(), on.by_ports()] {
        router.shift(Some(BLUE), GREEN).await.unwrap();
        router.shift(Some(GREEN), BLUE).await.unwrap();
    }
    on.server.grant(&["load_balancer:read"]);
    let error = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
}
