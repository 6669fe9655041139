use std::fmt;

use bluegreen_core::{Error, Result};

/// The kernel's limit, without the NUL at its end.
const LONGEST: usize = 15;

/// The name of a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface(String);

impl Interface {
    pub(super) fn new(name: &str) -> Result<Self> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let good = !name.is_empty()
            && name.len() <= LONGEST
            && name.chars().all(known)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if good { Ok(Self(name.to_owned())) } else { Err(Error::config(format!("{name:?} is no network interface"))) }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_interface_is_refused() {
        for good in ["eth0", "enp3s0f1", "bond0.100", "br-lan", "wg_0"] {
            assert_eq!(Interface::new(good).unwrap().to_string(), good);
        }
        for bad in ["", "-x", "eth0@if5", "eth0; id", "a/b", "..", "a b", "sixteen-letters-", "ü"] {
            assert!(Interface::new(bad).is_err(), "{bad}");
        }
    }
}
