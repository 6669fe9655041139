//! The guide on the crate's page says what `Cargo.toml` says, and no adapter of the workspace is missing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Published crates that are no adapter of their own: what the facade has at its root, and what adapters are made of.
const UNDERNEATH: [&str; 4] = ["bluegreen", "bluegreen-core", "bluegreen-http-client", "bluegreen-release"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn features() -> BTreeMap<String, BTreeSet<String>> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let features = manifest["features"].as_table().unwrap();
    let words = |value: &toml::Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    features.iter().map(|(name, enables)| (name.clone(), words(enables))).collect()
}

/// The rows of the table of features: the name, and whether it is on by default.
fn table() -> BTreeMap<String, bool> {
    let page = read("src/lib.rs");
    let rows = page.lines().skip_while(|line| !line.starts_with("//! | feature |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with("//! |"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[3].starts_with("yes"))
    })
    .collect()
}

#[test]
fn the_table_of_features_names_each_feature_and_what_is_on_by_default() {
    let mut features = features();
    let default = features.remove("default").unwrap();
    let said: BTreeMap<_, _> = features.keys().map(|name| (name.clone(), default.contains(name))).collect();
    assert_eq!(table(), said);
}

#[test]
fn each_published_adapter_of_the_workspace_is_a_feature_and_a_module() {
    let workspace: toml::Table = toml::from_str(&read("../Cargo.toml")).unwrap();
    let (features, page) = (features(), read("src/lib.rs"));
    let mut adapters = 0;
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let folder = member.as_str().unwrap();
        let manifest: toml::Table = toml::from_str(&read(&format!("../{folder}/Cargo.toml"))).unwrap();
        let package = manifest["package"].as_table().unwrap();
        let name = package["name"].as_str().unwrap();
        if package.get("publish").and_then(toml::Value::as_bool) == Some(false) || UNDERNEATH.contains(&name) {
            continue;
        }
        let short = name.strip_prefix("bluegreen-").unwrap();
        let enables = features.get(short).unwrap_or_else(|| panic!("bluegreen has no feature {short} for {name}"));
        assert!(enables.contains(&format!("dep:{name}")), "{short} does not enable {name}");
        let line = format!("pub use bluegreen_{} as {};", short.replace('-', "_"), short.replace('-', "_"));
        assert!(page.contains(&line), "src/lib.rs has no {line:?}");
        adapters += 1;
    }
    assert!(adapters >= 6, "only {adapters} adapters were found");
}

#[test]
fn an_optional_feature_of_an_adapter_can_be_enabled_by_the_facade() {
    let all: BTreeSet<_> = features().into_values().flatten().collect();
    for adapter in ["core", "docker", "floatingip", "haproxy", "http", "local", "nginx", "ssh"] {
        let manifest: toml::Table = toml::from_str(&read(&format!("../bluegreen-{adapter}/Cargo.toml"))).unwrap();
        let own = manifest.get("features").and_then(toml::Value::as_table);
        for feature in own.into_iter().flat_map(toml::Table::keys).filter(|name| *name != "default") {
            let named = [format!("bluegreen-{adapter}/{feature}"), format!("bluegreen-{adapter}?/{feature}")];
            assert!(named.iter().any(|name| all.contains(name)), "nothing enables {feature} of bluegreen-{adapter}");
        }
    }
}

#[test]
fn the_guides_on_the_page_are_there() {
    let page = read("src/lib.rs");
    let named: BTreeSet<_> =
        page.split('`').filter(|word| word.starts_with("docs/") && word.ends_with(".md")).collect();
    assert!(named.len() >= 10, "{named:?}");
    for guide in named {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(guide).exists(), "{guide} is not there");
    }
}
