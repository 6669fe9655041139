//! [`VipServer`]: one of the two servers of an address.

use std::sync::Arc;

use bluegreen_core::{Error, Host, Result};

use super::interface::Interface;

/// Where the marks are unless set.
const MARKS: &str = "/var/lib/bluegreen/addresses";

/// A server and the interface on which it takes the address.
#[derive(Debug, Clone)]
pub struct VipServer {
    pub(super) host: Arc<dyn Host>,
    pub(super) interface: Interface,
    marks: String,
}

impl VipServer {
    /// A server by its host and the name of the interface: `eth0`.
    ///
    /// # Errors
    /// `Config` when that cannot be the name of an interface.
    pub fn new(host: impl Host, interface: &str) -> Result<Self> {
        Ok(Self { host: Arc::new(host), interface: Interface::new(interface)?, marks: MARKS.to_owned() })
    }

    /// The directory of the marks that say which service an address belongs to, one file for each address;
    /// Default: `/var/lib/bluegreen/addresses`. It is made where it is missing, and has to survive a reboot. The account that
    /// looks has to be able to read it.
    ///
    /// # Errors
    /// `Config` when it is no absolute path.
    pub fn marks_in(mut self, directory: &str) -> Result<Self> {
        if !directory.starts_with('/') || directory.contains(['\0', '\n']) {
            return Err(Error::config(format!("{directory:?} is no absolute path of a directory")));
        }
        directory.trim_end_matches('/').clone_into(&mut self.marks);
        Ok(self)
    }

    pub(super) fn mark_of(&self, address: &str) -> String {
        format!("{}/{address}", self.marks)
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_core::LocalHost;

    use super::*;

    #[test]
    fn marks_are_kept_in_a_directory_that_does_not_depend_on_where_a_command_runs() {
        let server = || VipServer::new(LocalHost::new(), "eth0").unwrap();
        assert_eq!(server().mark_of("2001:db8::1"), "/var/lib/bluegreen/addresses/2001:db8::1");
        assert_eq!(server().marks_in("/srv/marks/").unwrap().mark_of("192.0.2.1"), "/srv/marks/192.0.2.1");
        for bad in ["", "marks", "../marks", "/srv\nmarks"] {
            assert!(server().marks_in(bad).is_err(), "{bad:?}");
        }
    }
}
