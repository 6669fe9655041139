//! A compose file of our own, as changes to those before it.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is said of the places of the compose files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Patch(BTreeMap<Vec<String>, Said>);

/// What is said of one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// Laid over what is there.
    Merged(Value),
    /// Instead of what is there. Only a newer Compose [understands](super::Program::replaces) that.
    Instead(Value),
    /// What is there goes away. As above.
    Removed,
}

impl Patch {
    /// Says this of a place. What is said of a place above it wins.
    pub(crate) fn set<const N: usize>(&mut self, place: [&str; N], said: Said) {
        self.0.insert(place.map(str::to_owned).to_vec(), said);
    }

    /// What is said of this place.
    pub(crate) fn get<const N: usize>(&self, place: [&str; N]) -> Option<&Said> {
        self.0.get(place.map(str::to_owned).as_slice())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// JSON with tags of YAML, which is YAML.
    pub(crate) fn to_yaml(&self) -> String {
        let entries: Vec<_> = self.0.iter().map(|(place, said)| (place.as_slice(), said)).collect();
        let mut text = String::new();
        write(&entries, 0, &mut text);
        text.push('\n');
        text
    }
}

/// The entries are in order, so that those of one key stand together, and a place stands before those below it.
fn write(entries: &[(&[String], &Said)], depth: usize, text: &mut String) {
    // That something is there at all, is said by what is below it too.
    let says_more =
        |said: &Said| entries.len() > 1 && matches!(said, Said::Merged(Value::Object(map)) if map.is_empty());
    let entries = match entries {
        [([], said), below @ ..] if says_more(said) => below,
        entries => entries,
    };
    if let Some(([], said)) = entries.first() {
        match said {
            Said::Merged(value) => text.push_str(&value.to_string()),
            Said::Instead(value) => text.push_str(&format!("!override {value}")),
            Said::Removed => text.push_str("!reset null"),
        }
        return;
    }
    text.push_str("{\n");
    let groups: Vec<_> = entries.chunk_by(|(one, _), (other, _)| one.first() == other.first()).collect();
    let last = groups.len();
    for (number, group) in groups.into_iter().enumerate() {
        let key = group.first().and_then(|(place, _)| place.first()).map_or("", String::as_str);
        text.push_str(&format!("{}{}: ", "  ".repeat(depth + 1), Value::from(key)));
        let below: Vec<_> = group.iter().map(|(place, said)| (place.get(1..).unwrap_or_default(), *said)).collect();
        write(&below, depth + 1, text);
        text.push_str(if number + 1 == last { "\n" } else { ",\n" });
    }
    text.push_str(&format!("{}}}", "  ".repeat(depth)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_of_many_places_is_one_file() {
        let mut patch = Patch::default();
        patch.set(["services", "web", "image"], Said::Merged(json!("web:1 !reset")));
        patch.set(["services", "web", "ports"], Said::Instead(json!([{"target": 80}])));
        patch.set(["services", "db"], Said::Removed);
        patch.set(["services", "db", "image"], Said::Merged(json!("db:1")));
        let text = patch.to_yaml();
        let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = r#"{ "services": { "db": !reset null, "web": { "image": "web:1 !reset", "ports": !override [{"target":80}] } } }"#;
        assert_eq!(flat, expected, "{text}");
    }
}
