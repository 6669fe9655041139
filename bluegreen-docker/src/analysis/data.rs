//! Data that two slots would write to at the same time, or that each would begin without.

use serde_json::json;

use super::images::{is_cache, is_database};
use super::question::Kind;
use super::{Findings, Question};
use crate::compose::{Mount, Said, Service};

/// Where mounted directories are settings, and not data, whatever may be written there.
const SETTINGS: &[&str] = &["/etc/", "/docker-entrypoint", "/usr/local/etc/", "/usr/share/", "/opt/bitnami/scripts/"];

/// Directories of the machine that programs only read, or that are made for many.
const OF_MACHINE: &[&str] =
    &["/proc", "/sys", "/dev", "/etc", "/run/docker.sock", "/var/run/docker.sock", "/lib/modules"];

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    for (name, service) in question.in_slot() {
        let image = service.image.as_deref().unwrap_or_default();
        let (is_database, is_cache) = (is_database(image), is_cache(image));
        let mut keeps = false;
        for mount in service.volumes.iter().filter(|mount| !mount.read_only) {
            match place(question, mount) {
                Place::Slot(volume) => {
                    keeps = true;
                    let is_declared = question.wishes.data_shared.contains(&volume) && !question.wishes.as_written;
                    if is_declared && !is_database && !is_cache {
                        one_for_both(question, findings, &volume);
                    } else {
                        empty(question, findings, name, Some(&volume), is_database || is_cache);
                    }
                }
                Place::Both(path) => {
                    keeps = true;
                    both(question, findings, name, mount, &path, is_database || is_cache);
                }
                Place::Container | Place::Nowhere => {}
            }
        }
        if is_database && !keeps && service.volumes_from.is_empty() {
            empty(question, findings, name, None, true);
        }
        foreign_volumes(findings, name, service);
    }
    no_database_alone(question, findings);
}

/// The paths whose kind decides what is found.
pub(super) fn paths(question: &Question<'_>) -> Vec<String> {
    let mounts = question.in_slot().flat_map(|(_, service)| &service.volumes);
    let binds = mounts.filter(|mount| mount.kind == "bind" && !mount.read_only);
    let mut paths: Vec<_> = binds.filter_map(|mount| mount.source.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}

enum Place {
    /// A volume of the slot's own.
    Slot(String),
    /// A volume or a directory that is the same one for both slots.
    Both(String),
    /// It goes with its container.
    Container,
    /// It keeps nothing that is written.
    Nowhere,
}

fn place(question: &Question<'_>, mount: &Mount) -> Place {
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    match (mount.kind.as_str(), source) {
        ("volume", None) => Place::Container,
        ("volume", Some(name)) => {
            let volume = question.project.volumes.get(name).and_then(Option::as_ref);
            let option = |key: &str| volume.and_then(|volume| volume.driver_opts.get(key)?.as_str());
            if option("type") == Some("tmpfs") {
                return Place::Nowhere;
            }
            // A directory, or a share of a server, in the guise of a volume.
            if let Some(device) = option("device").filter(|device| !question.names_slot(device)) {
                return Place::Both(device.to_owned());
            }
            let called = volume.and_then(|volume| volume.fixed_name()).unwrap_or(name);
            let is_own = volume.is_none_or(|volume| volume.is_own(question.project_name));
            if is_own || question.names_slot(called) {
                Place::Slot(name.to_owned())
            } else {
                Place::Both(name.to_owned())
            }
        }
        ("bind", Some(path)) => {
            let of_machine = OF_MACHINE.iter().any(|known| path == *known || path.starts_with(&format!("{known}/")));
            let is_file = question.kinds.get(path) == Some(&Kind::Other) && !is_data_file(path);
            if of_machine || is_file || question.names_slot(path) {
                return Place::Nowhere;
            }
            Place::Both(path.to_owned())
        }
        _ => Place::Nowhere,
    }
}

/// A database that is one file.
fn is_data_file(path: &str) -> bool {
    [".db", ".sqlite", ".sqlite3", ".mdb", ".rdb"].iter().any(|end| path.ends_with(end))
}

/// Both slots have the volume that the shared services have under this name.
fn one_for_both(question: &Question<'_>, findings: &mut Findings, volume: &str) {
    let name = format!("{}_{volume}", question.shared_name);
    findings.patch.set(["volumes", volume, "name"], Said::Merged(json!(name)));
}

/// Each slot begins without data.
fn empty(question: &Question<'_>, findings: &mut Findings, service: &str, volume: Option<&str>, is_database: bool) {
    let known_as = volume.unwrap_or(service);
    if question.wishes.data_per_slot.contains(known_as) {
        return;
    }
    let place = volume.map_or_else(|| "its container".to_owned(), |volume| format!("the volume {volume}"));
    let once = (!question.wishes.has_endpoint(service))
        .then(|| format!("run {service} once for both slots, with `.shared([\"{service}\"])`"));
    let for_both = (!is_database && !question.wishes.as_written).then(|| {
        format!(
            "if two versions may write there at the same time, say `.data_shared([\"{known_as}\"])`: both slots then have the \
             volume {}_{known_as}",
            question.shared_name
        )
    });
    let for_each = format!("if each slot may have data of its own, say `.data_per_slot([\"{known_as}\"])`");
    let cures = once.into_iter().chain(for_both).chain([for_each]).collect::<Vec<_>>();
    findings.refuse(
        format!("services.{service}.volumes: {service} keeps its data in {place}: {} would start empty", question.slot),
        cures.join("; or, "),
    );
}

/// Both slots have it open.
fn both(question: &Question<'_>, findings: &mut Findings, service: &str, mount: &Mount, path: &str, is_database: bool) {
    let target = &mount.target;
    let is_settings = SETTINGS.iter().any(|known| target.starts_with(known) || target == known.trim_end_matches('/'));
    let is_declared = question.wishes.data_shared.iter().any(|declared| is_it(declared, path));
    if !is_database && (is_declared || is_settings) {
        return;
    }
    let what = format!("services.{service}.volumes: both slots would have {path} open for writing, at {target}");
    let once = format!("run {service} once for both slots, with `.shared([\"{service}\"])`");
    let declared = format!(
        "mount it `:ro`; or, if two versions may write there at the same time, say `.data_shared([\"{path}\"])`"
    );
    findings.refuse(
        what,
        match (is_database, question.wishes.has_endpoint(service)) {
            (true, _) => once,
            (false, true) => declared,
            (false, false) => format!("{once}; or {declared}"),
        },
    );
}

/// A path may be declared as the file writes it, relative to the file.
fn is_it(declared: &str, path: &str) -> bool {
    let relative = declared.trim_start_matches("./").trim_end_matches('/');
    declared.trim_end_matches('/') == path.trim_end_matches('/')
        || (declared.starts_with('.') && !relative.is_empty() && path.ends_with(&format!("/{relative}")))
}

fn foreign_volumes(findings: &mut Findings, name: &str, service: &Service) {
    let foreign = service.volumes_from.iter().filter_map(|from| from.strip_prefix("container:"));
    for container in foreign.filter(|container| !container.ends_with(":ro")) {
        findings.refuse(
            format!("services.{name}.volumes_from: both slots would have the volumes of the container {container} open for writing"),
            format!("say `container:{container}:ro`, or name the volumes"),
        );
    }
}

fn no_database_alone(question: &Question<'_>, findings: &mut Findings) {
    let mut any = false;
    for (_, service) in question.in_slot() {
        let image = service.image.as_deref().unwrap_or_default();
        if !is_database(image) && !is_cache(image) {
            return;
        }
        any = true;
    }
    if any {
        findings.refuse(
            "services: all of them are databases, and a database has its data once",
            "bring them up with `docker compose up -d`; two slots are for what can run twice, in front of such data",
        );
    } else {
        findings.refuse(
            "services: nothing is left for the slots, since all services are shared",
            "name in `.shared([..])` only what both slots use",
        );
    }
}
