//! The service's environment, as a file that a shell reads on the server.

use std::collections::BTreeMap;

use bluegreen_core::host::{check_variable_name, quote};
use bluegreen_core::{Error, Result, Secret};

/// What the runtime sets itself.
const RESERVED: &[&str] = &[
    "HOME",
    "PORT",
    "SLOT",
    "VERSION",
    "ERL_AFLAGS",
    "ERL_ZFLAGS",
    "ERL_CRASH_DUMP",
    "ERL_EPMD_ADDRESS",
    "ERL_EPMD_PORT",
];
const RESERVED_RELEASE: &[&str] = &[
    "COMMAND",
    "COOKIE",
    "DISTRIBUTION",
    "NAME",
    "NODE",
    "PROG",
    "ROOT",
    "TMP",
    "VSN",
    "BOOT_SCRIPT",
    "BOOT_SCRIPT_CLEAN",
];

/// Checks the variables.
///
/// # Errors
/// `Config` when a name is none, or belongs to the runtime, or a value holds a NUL.
pub(super) fn check(environment: &BTreeMap<String, Secret>) -> Result<()> {
    for (name, value) in environment {
        check_variable_name(name)?;
        let of_release = name.strip_prefix("RELEASE_").is_some_and(|rest| RESERVED_RELEASE.contains(&rest));
        if RESERVED.contains(&name.as_str()) || of_release || name.starts_with("BLUEGREEN_") {
            return Err(Error::config(format!("the variable {name} is set by the runtime"))
                .with_hint("ports, node names and the cookie have settings of their own"));
        }
        if value.reveal().contains('\0') {
            return Err(Error::config(format!("the value of {name} holds a NUL character")));
        }
    }
    Ok(())
}

/// Checks that a cookie can be one, and is read from its file as it was written.
///
/// # Errors
/// `Config`, without the cookie in it.
pub(super) fn check_cookie(cookie: &Secret) -> Result<()> {
    let text = cookie.reveal();
    if text.is_empty() || text.len() > 255 || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Error::config("a cookie is 1 to 255 printable ASCII characters without blanks"));
    }
    Ok(())
}

/// What the server gets: the cookie on a line (empty for its own), then the file.
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    /// The length of the file alone.
    pub(super) size: usize,
}

pub(super) fn input(environment: &BTreeMap<String, Secret>, cookie: Option<&Secret>) -> Input {
    let file: String =
        environment.iter().map(|(name, value)| format!("export {name}={}\n", quote(value.reveal()))).collect();
    let size = file.len();
    Input { bytes: format!("{}\n{file}", cookie.map_or("", Secret::reveal)).into_bytes(), size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_hostile_values_from_the_file_unchanged() {
        let hostile = "it's \"$HOME\" `id` $(id)\nsecond line\\ é";
        let environment = BTreeMap::from([("A".to_owned(), Secret::new(hostile)), ("B".to_owned(), Secret::new(""))]);
        let input = input(&environment, Some(&Secret::new("cookie")));
        let text = String::from_utf8(input.bytes).unwrap();
        let (cookie, file) = text.split_once('\n').unwrap();
        assert_eq!((cookie, file.len()), ("cookie", input.size));
        let script = format!("{file}printf '%s|%s' \"$A\" \"$B\"");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{hostile}|"));
    }
}
