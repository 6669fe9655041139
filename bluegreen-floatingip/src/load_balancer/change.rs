//! The difference between two documents, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::identity::identity;

/// What a switch would change in a load balancer's settings. `Display` prints one line for each value:
/// `forwarding_rules/http:80/target_port: 3000 -> 3001`, `droplet_ids/11: removed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    lines: Vec<String>,
}

/// One value that differs.
struct Difference {
    path: String,
    text: String,
    added: bool,
}

impl Change {
    /// Items of lists are compared by what identifies them, and an empty value is the same as none.
    pub(super) fn between(old: &Value, new: &Value) -> Self {
        Self::of(differences(old, new).iter())
    }

    /// What is missing or different in `new`. Additions are left out.
    pub(super) fn lost_between(old: &Value, new: &Value) -> Self {
        Self::of(differences(old, new).iter().filter(|difference| !difference.added))
    }

    fn of<'a>(differences: impl Iterator<Item = &'a Difference>) -> Self {
        Self { lines: differences.map(|difference| format!("{}: {}", difference.path, difference.text)).collect() }
    }

    /// Whether `now` lies between `old` and `new`: each of their values is still as in one of them.
    pub(super) fn is_under_way(old: &Value, new: &Value, now: &Value) -> bool {
        let lost = |from: &Value| -> BTreeSet<String> {
            let lost = differences(from, now).into_iter().filter(|difference| !difference.added);
            lost.map(|difference| difference.path).collect()
        };
        lost(old).is_disjoint(&lost(new))
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// One line for each value that would change.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() { f.write_str("nothing changes") } else { f.write_str(&self.lines.join("\n")) }
    }
}

fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", "", Some(old), Some(new), &mut found);
    found
}

/// `name` is the last part of the path.
fn compare(path: &str, name: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    let (old, new) = (old.filter(|value| !is_nothing(value)), new.filter(|value| !is_nothing(value)));
    match (old, new) {
        (old, new) if old == new => {}
        (None | Some(Value::Object(_)), None | Some(Value::Object(_))) => {
            let (old, new) = (fields(old), fields(new));
            for key in union(&old, &new) {
                compare(&below(path, key), key, old.get(key).copied(), new.get(key).copied(), found);
            }
        }
        (None | Some(Value::Array(_)), None | Some(Value::Array(_))) => {
            let (old, new) = (items(name, old), items(name, new));
            for key in union(&old, &new) {
                let path = below(path, key);
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => compare(&path, "", Some(old), Some(new), found),
                    (old, _) => {
                        let text = if old.is_some() { "removed" } else { "added" };
                        found.push(Difference { path, text: text.to_owned(), added: old.is_none() });
                    }
                }
            }
        }
        (old, new) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            let text = format!("{} -> {}", text(old), text(new));
            found.push(Difference { path: path.to_owned(), text, added: old.is_none() });
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn fields(value: Option<&Value>) -> BTreeMap<String, &Value> {
    value.and_then(Value::as_object).into_iter().flatten().map(|(name, value)| (name.clone(), value)).collect()
}

/// The items of a list by their identity. What the identity does not tell apart is counted.
fn items<'a>(list: &str, value: Option<&'a Value>) -> BTreeMap<String, &'a Value> {
    let mut found = BTreeMap::new();
    for item in value.and_then(Value::as_array).into_iter().flatten() {
        let name = identity(list, item);
        let names = (1..).map(|count| if count == 1 { name.clone() } else { format!("{name} #{count}") });
        if let Some(free) = names.into_iter().find(|name| !found.contains_key(name)) {
            found.insert(free, item);
        }
    }
    found
}

fn union<'a>(old: &'a BTreeMap<String, &Value>, new: &'a BTreeMap<String, &Value>) -> BTreeSet<&'a String> {
    old.keys().chain(new.keys()).collect()
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_that_changes_is_one_line_and_the_rest_is_none() {
        let old =
            json!({ "name": "lb", "services": [{ "listen_port": 80, "port": 3000 }], "gone": true, "ids": [1, 2] });
        let new =
            json!({ "name": "lb", "services": [{ "listen_port": 80, "port": 3001 }], "ids": [2, 3], "come": "x" });
        let change = Change::between(&old, &new);
        let expected = [
            "come: nothing -> \"x\"",
            "gone: true -> nothing",
            "ids/1: removed",
            "ids/3: added",
            "services/80/port: 3000 -> 3001",
        ];
        assert_eq!(change.lines(), expected);
        assert_eq!(Change::lost_between(&old, &new).lines().len(), 3);
        assert!(Change::between(&old, &old).is_empty());
    }

    #[test]
    fn a_list_in_another_order_and_an_empty_value_are_no_change() {
        let rule =
            |protocol: &str, port: u64| json!({ "entry_protocol": protocol, "entry_port": port, "target_port": port });
        let old =
            json!({ "forwarding_rules": [rule("tcp", 53), rule("udp", 53), rule("http", 80)], "allow": ["a", "b"] });
        let new = json!({ "forwarding_rules": [rule("http", 80), rule("udp", 53), rule("tcp", 53)], "allow": ["b", "a"],
            "deny": [], "tag": "", "region": null });
        assert!(Change::between(&old, &new).is_empty(), "{}", Change::between(&old, &new));
        let moved = json!({ "forwarding_rules": [rule("http", 80), rule("tcp", 53)], "allow": ["b", "a"] });
        assert_eq!(Change::between(&old, &moved).lines(), ["forwarding_rules/udp:53: removed"]);
    }

    #[test]
    fn items_that_are_the_same_are_counted() {
        let list = |items: Value| json!({ "ids": items });
        assert_eq!(Change::between(&list(json!([7, 7])), &list(json!([7]))).lines(), ["ids/7 #2: removed"]);
    }

    #[test]
    fn a_state_with_old_and_new_values_is_under_way_and_one_with_any_other_is_not() {
        let service = |listen: u64, port: u64| json!({ "listen_port": listen, "port": port });
        let state = |first: u64, second: u64| json!({ "services": [service(80, first), service(443, second)] });
        let (old, new) = (state(3000, 3000), state(3001, 3001));
        let mut more = state(3000, 3001);
        more["of_tomorrow"] = json!(true);
        more["services"].as_array_mut().unwrap().push(service(8080, 1));
        for now in [&old, &new, &state(3001, 3000), &state(3000, 3001), &more] {
            assert!(Change::is_under_way(&old, &new, now), "{now}");
        }
        for now in [state(3001, 22), json!({ "services": [service(80, 3001)] }), json!({})] {
            assert!(!Change::is_under_way(&old, &new, &now), "{now}");
        }
    }
}
