//! Which paths and links a release may hold.

use std::path::{Component, Path};

use bluegreen_core::{Error, Result};

/// A path inside the release, without its `.` components. Empty for the root itself.
///
/// # Errors
/// `Config` when it leads outside, is not UTF-8, or holds a control character.
pub(crate) fn inside(name: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(name).map_err(|_| hostile(name, "has a name that is not UTF-8"))?;
    if text.contains(|c: char| c.is_control()) || text.contains('\\') {
        return Err(hostile(name, "has a control character or a backslash in its name"));
    }
    let mut parts = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            _ => return Err(hostile(name, "would be unpacked outside of the release")),
        }
    }
    Ok(parts.join("/"))
}

/// Checks that a symbolic link's target stays in the release. `..` may only stand at its beginning, where the directories
/// it leaves are no links themselves: behind a name it might leave from wherever another link leads.
///
/// # Errors
/// `Config` when it may lead outside.
pub(crate) fn check_link(link: &str, target: &[u8]) -> Result<String> {
    let refuse = || hostile(link.as_bytes(), "is a link that leaves the release");
    let text = std::str::from_utf8(target).map_err(|_| refuse())?;
    if text.contains(|c: char| c.is_control()) || text.contains('\\') {
        return Err(refuse());
    }
    let depth = link.split('/').count().saturating_sub(1);
    let (mut up, mut names) = (0, 0);
    for component in Path::new(text).components() {
        match component {
            Component::ParentDir if names == 0 => up += 1,
            Component::Normal(_) => names += 1,
            Component::CurDir => {}
            _ => return Err(refuse()),
        }
    }
    if up <= depth && (up > 0 || names > 0) { Ok(text.to_owned()) } else { Err(refuse()) }
}

pub(crate) fn hostile(name: &[u8], what: &str) -> Error {
    Error::config(format!("{:?} {what}", String::from_utf8_lossy(name))).with_hint(
        "no build makes such a member on purpose: do not unpack it anywhere; pack the release again without it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_only_when_no_chain_of_links_can_lead_it_out() {
        for (link, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a/b", "./c"), ("a/b", "..")] {
            assert!(check_link(link, target.as_bytes()).is_ok(), "{link} -> {target}");
        }
        for (link, target) in
            [("a", "../b"), ("a/b", "../../c"), ("a", "/etc"), ("a/b", "c/../../.."), ("a", "b/.."), ("a", "")]
        {
            assert!(check_link(link, target.as_bytes()).is_err(), "{link} -> {target}");
        }
    }

    #[test]
    fn a_name_that_leads_outside_or_cannot_be_told_from_another_is_refused() {
        for name in ["../a", "/etc/passwd", "a/../../b", "a\nb", "a\tb", "a\\b", "\u{1b}[2J"] {
            assert!(inside(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(inside(b"\xff").is_err());
        assert_eq!(inside("./a/./b c/é".as_bytes()).unwrap(), "a/b c/é");
        assert_eq!(inside(b"./").unwrap(), "");
    }
}
