//! What HAProxy refuses, as the workspace's error.

use bluegreen_core::{Error, ErrorKind};

/// The error of a command that HAProxy answered with this. What stands before it in the same line was done.
pub(crate) fn refused(command: &str, answer: &str) -> Error {
    let first = answer.lines().next().unwrap_or("nothing");
    let (kind, hint) = match answer {
        _ if answer.contains("Permission denied") => {
            (ErrorKind::Unauthorized, "give the socket `level admin` in HAProxy's configuration")
        }
        _ if answer.contains("No such") || answer.contains("Can't find") => {
            (ErrorKind::NotFound, "compare the backend and its servers with HAProxy's configuration")
        }
        _ if answer.contains("static LB algorithm") => {
            (ErrorKind::Unsupported, "use `balance roundrobin`, or `hash-type consistent`")
        }
        _ if answer.contains("Unknown command") => (ErrorKind::Unsupported, "HAProxy 2.6 or later is needed"),
        _ => (ErrorKind::Unexpected, "compare the backend and its servers with HAProxy's configuration"),
    };
    Error::new(kind, format!("HAProxy answered: {}", first.trim()))
        .maybe_applied()
        .with("command", command)
        .with_hint(hint)
}
