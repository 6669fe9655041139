//! The text of a unit, and what may stand in it.

use bluegreen_core::{Error, Result, Slot};

use super::settings::{Scope, Settings};
use crate::slots::SlotSettings;

/// The unit of a slot. It is the same for every version, so that a deploy changes no unit.
pub(super) fn render(slots: &SlotSettings, settings: &Settings, slot: Slot) -> String {
    let SlotSettings { service, directory, command, .. } = slots;
    let kind = if settings.notify { "notify" } else { "exec" };
    let user = match &settings.scope {
        Scope::System { user } => format!("User={user}\n"),
        Scope::User => String::new(),
    };
    let wanted_by = match settings.scope {
        Scope::System { .. } => "multi-user.target",
        Scope::User => "default.target",
    };
    let arguments: Vec<_> = command.iter().skip(1).map(|word| quoted(&slots.filled(word, slot))).collect();
    let program = match command.first() {
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            format!("{directory}/slots/{slot}/release/{program}")
        }
        program => program.cloned().unwrap_or_default(),
    };
    let lines = settings.hardening.directives(directory).into_iter();
    let lines = lines.chain(settings.directives.iter().map(|(name, value)| format!("{name}={value}")));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    let (start, stop) = (seconds(settings.start_deadline), seconds(settings.stop_timeout));
    format!(
        "# Written by the set-up of bluegreen-release. Deploys are refused while it is changed: use a drop-in (systemctl edit).
[Unit]
Description={service} ({slot})
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type={kind}
{user}WorkingDirectory={directory}/slots/{slot}/release
EnvironmentFile={directory}/slots/{slot}/env
ExecStart={program} {arguments}
Restart=always
RestartSec=1
TimeoutStartSec={start}
TimeoutStopSec={stop}
KillMode=mixed
SyslogIdentifier={service}-{slot}
{lines}
[Install]
WantedBy={wanted_by}
",
        arguments = arguments.join(" "),
    )
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// One word of a command line for systemd, which replaces `%` and `$` too.
fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Checks a path or a program: it stands in a unit without quotes.
///
/// # Errors
/// `Config` with the text.
pub(super) fn check_path(what: &str, path: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+".contains(c);
    let starts_well = path.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c));
    if starts_well && path.chars().all(is_plain) && path.split('/').all(|part| part != "..") {
        return Ok(());
    }
    Err(Error::config(format!("{path:?} cannot be the {what}: use letters, digits and /._-@+")))
}

/// Checks the name of a unit.
///
/// # Errors
/// `Config` with the text.
pub(super) fn check_unit_name(name: &str) -> Result<()> {
    let stem = name.strip_suffix(".service").unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if stem.starts_with(|c: char| c.is_ascii_alphanumeric()) && stem.chars().all(is_plain) && stem.len() <= 200 {
        return Ok(());
    }
    Err(Error::config(format!("{name:?} is not the name of a service unit, such as shop-blue.service")))
}

/// Checks a line of the section `[Service]`, which must stay one line.
///
/// # Errors
/// `Config` with its name, and never with its value.
pub(super) fn check_directive(name: &str, value: &str) -> Result<()> {
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    if is_name && !value.contains(|c: char| c.is_control()) && !value.ends_with('\\') {
        return Ok(());
    }
    Err(Error::config(format!(
        "{name:?} and its value cannot be a line of a unit: they need one line, and no backslash at its end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_begin_a_directive_of_its_own_is_refused() {
        for path in
            ["", "a b", "/srv/x\nExecStartPre=/bin/id", "-bin/x", "@x", "a/../b", "%h/x", "$HOME", "a;b", "\"x\""]
        {
            assert!(check_path("directory", path).is_err(), "{path:?}");
        }
        for name in ["", "x", ".service", "-x.service", "a b.service", "a/b.service", "x\n.service", "shop.timer"] {
            assert!(check_unit_name(name).is_err(), "{name:?}");
        }
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\nB", "x"), ("A", "x\nB=y"), ("A", "x\\"), ("[A]", "x")] {
            assert!(check_directive(name, value).is_err(), "{name:?} {value:?}");
        }
        check_path("directory", "/srv/shop").unwrap();
        check_unit_name("shop@blue.service").unwrap();
        check_directive("LimitNOFILE", "65536").unwrap();
    }

    #[test]
    fn a_word_is_one_word_for_systemd() {
        assert_eq!(quoted("a \"b\" 100% $HOME \\"), r#""a \"b\" 100%% $$HOME \\""#);
        assert_eq!(quoted("two\nlines"), r#""two\nlines""#);
    }
}
