//! The error about a file of an adapter that somebody else has changed.

use std::fmt;

use crate::error::{Error, ErrorKind, Reason};
use crate::host::Host;

/// Of the lines that differ, so many are told.
const TOLD: usize = 20;

/// The error about a file that an adapter writes on a host, and that somebody else has changed since: what they put there is
/// not overwritten. `what` is what the file holds (`site`); `lines` are those that differ, none of them a secret.
///
/// ```
/// use bluegreen_core::{LocalHost, Reason, changed_file};
///
/// let error = changed_file("site", "/etc/nginx/conf.d/shop.conf", &LocalHost::new(), ["+listen 443 ssl;".to_owned()]);
/// assert_eq!(error.reason(), Some(Reason::ChangedElsewhere));
/// assert_eq!(error.context("differing lines"), Some("+listen 443 ssl;"));
/// ```
pub fn changed_file(
    what: &'static str,
    path: impl fmt::Display,
    host: &dyn Host,
    lines: impl IntoIterator<Item = String>,
) -> Error {
    Error::new(ErrorKind::Conflict, format!("the {what} was changed by somebody else, and is not overwritten"))
        .with_reason(Reason::ChangedElsewhere)
        .not_applied()
        .with(what, path)
        .with("host", host)
        .with("differing lines", on_one_line(lines.into_iter().collect()))
}

fn on_one_line(lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(TOLD);
    let told = lines.into_iter().take(TOLD).collect::<Vec<_>>().join(" | ");
    match more {
        0 if told.is_empty() => "none that can be shown".to_owned(),
        0 => told,
        more => format!("{told} | and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_are_told_in_part() {
        let lines = |count: usize| (0..count).map(|line| format!("+line {line}")).collect();
        assert_eq!(on_one_line(lines(2)), "+line 0 | +line 1");
        assert!(on_one_line(lines(30)).ends_with("+line 19 | and 10 more"));
        assert_eq!(on_one_line(lines(0)), "none that can be shown");
    }
}
