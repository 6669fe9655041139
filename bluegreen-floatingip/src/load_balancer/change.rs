//! The difference between two documents, for people.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// What a switch would change in a load balancer's settings. `Display` prints one line for each value:
/// `forwarding_rules/0/target_port: 3000 -> 3001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    lines: Vec<String>,
}

impl Change {
    pub(super) fn between(old: &Value, new: &Value) -> Self {
        let (old, new) = (leaves(old), leaves(new));
        let mut lines = Vec::new();
        for (path, was) in &old {
            match new.get(path) {
                Some(is) if is == was => {}
                Some(is) => lines.push(format!("{path}: {was} -> {is}")),
                None => lines.push(format!("{path}: {was} -> nothing")),
            }
        }
        for (path, is) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
            lines.push(format!("{path}: nothing -> {is}"));
        }
        Self { lines }
    }

    /// What is missing or different in `new`; what came in addition is not told.
    pub(super) fn lost_between(old: &Value, new: &Value) -> Self {
        let added = |line: &String| line.contains(": nothing -> ");
        Self { lines: Self::between(old, new).lines.into_iter().filter(|line| !added(line)).collect() }
    }

    /// Whether `now` is on its way from `old` to `new`: each value is that of the one or of the other.
    pub(super) fn is_under_way(old: &Value, new: &Value, now: &Value) -> bool {
        let (old, new, now) = (leaves(old), leaves(new), leaves(now));
        let known = |(path, value): (&String, &String)| old.get(path) == Some(value) || new.get(path) == Some(value);
        now.keys().eq(new.keys()) && old.keys().eq(new.keys()) && now.iter().all(known)
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

fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                collect(value, below(key), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                collect(value, below(&index.to_string()), found);
            }
        }
        leaf => {
            found.insert(path, leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_that_changes_is_one_line_and_the_rest_is_none() {
        let old = json!({ "name": "lb", "rules": [{ "port": 80, "target": 3000 }], "gone": true, "empty": [] });
        let new = json!({ "name": "lb", "rules": [{ "port": 80, "target": 3001 }], "empty": [], "come": "x" });
        let change = Change::between(&old, &new);
        assert_eq!(change.lines(), ["gone: true -> nothing", "rules/0/target: 3000 -> 3001", "come: nothing -> \"x\""]);
        assert_eq!(Change::lost_between(&old, &new).lines().len(), 2);
        assert!(Change::between(&old, &old).is_empty());
    }

    #[test]
    fn a_state_with_old_and_new_values_is_under_way_and_one_with_any_other_is_not() {
        let state = |first: u64, second: u64| json!({ "services": [{ "port": first }, { "port": second }] });
        let (old, new) = (state(3000, 3000), state(3001, 3001));
        for now in [&old, &new, &state(3001, 3000), &state(3000, 3001)] {
            assert!(Change::is_under_way(&old, &new, now), "{now}");
        }
        for now in [state(3001, 22), json!({ "services": [{ "port": 3001 }] }), json!({})] {
            assert!(!Change::is_under_way(&old, &new, &now), "{now}");
        }
    }
}
