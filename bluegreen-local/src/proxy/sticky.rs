//! The cookie by which a client stays on its slot while traffic is divided.

use bluegreen_core::{Error, Result, Slot};

/// Which slot a client was given, and in which round of divided traffic. A pin of an earlier round says nothing: else
/// those who once had green would all come back to the next release that is tried there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) slot: Slot,
    pub(super) round: u64,
}

/// The name of the cookie.
#[derive(Debug, Clone)]
pub(super) struct StickyCookie {
    name: String,
}

impl StickyCookie {
    pub(super) fn new(name: String) -> Result<Self> {
        // RFC 6265, section 4.1.1: a token.
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(Error::config(format!("{name:?} is not the name of a cookie")));
        }
        Ok(Self { name })
    }

    /// The pin that the client sent back. What cannot be read counts as none.
    pub(super) fn read<'b>(&self, lines: impl Iterator<Item = &'b [u8]>) -> Option<Pin> {
        let lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
        let value = lines.flat_map(|line| line.split(';')).find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.name).then_some(value)
        })?;
        let (slot, round) = value.split_once('.')?;
        Some(Pin { slot: slot.parse().ok()?, round: round.parse().ok()? })
    }

    /// The `Set-Cookie` value for a pin: for this browser session, all paths, and not readable by scripts.
    pub(super) fn write(&self, pin: Pin) -> String {
        format!("{}={}.{}; Path=/; HttpOnly; SameSite=Lax", self.name, pin.slot, pin.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookie: &StickyCookie, lines: &[&str]) -> Option<Pin> {
        cookie.read(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn what_is_written_is_read_back_among_other_cookies() {
        let cookie = StickyCookie::new("slot".to_owned()).unwrap();
        let pin = Pin { slot: Slot::Green, round: 17 };
        assert_eq!(cookie.write(pin), "slot=green.17; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(read(&cookie, &["a=b; slot=green.17; c=d"]), Some(pin));
        assert_eq!(read(&cookie, &["a=b", "slot=green.17"]), Some(pin));
    }

    #[test]
    fn a_forged_or_broken_cookie_counts_as_none() {
        let cookie = StickyCookie::new("slot".to_owned()).unwrap();
        for line in ["slot=", "slot=red.1", "slot=green", "slot=green.-1", "xslot=green.1", "slot=green.1.1", "slot"] {
            assert_eq!(read(&cookie, &[line]), None, "{line}");
        }
        assert_eq!(read(&cookie, &["slot=green.99999999999999999999999"]), None);
    }

    #[test]
    fn a_name_that_would_break_the_header_is_refused() {
        for bad in ["", "a b", "a=b", "a;b", "a\r\nb", "ü"] {
            assert!(StickyCookie::new(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
