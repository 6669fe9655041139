//! [`Hardening`]: what a program is kept from.

/// How much of the server a program is kept from, in units that this crate writes.
///
/// Each line can be read about in `systemd.exec(5)`. A line that a program cannot live with is taken back by
/// [`directive`](super::SystemdRuntimeBuilder::directive), which comes last and so wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hardening {
    /// Nothing.
    None,
    /// What no service of a web application needs: it gains no rights by programs such as sudo (`NoNewPrivileges`), makes no
    /// such programs (`RestrictSUIDSGID`), takes no real-time scheduling (`RestrictRealtime`) and no foreign system
    /// calls (`SystemCallArchitectures=native`, `LockPersonality`).
    #[default]
    Basic,
    /// Also, it sees a `/tmp` of its own, no home directories and no devices, can write nowhere but in the service's
    /// `shared/`, and has no capabilities, no other sockets than Unix and IP ones, and no way to change the kernel's
    /// settings, its clock or its modules. For system units; systemd may refuse part of it for a user's.
    Strict,
}

impl Hardening {
    pub(super) fn directives(self, directory: &str) -> Vec<String> {
        let basic = [
            "NoNewPrivileges=yes",
            "RestrictSUIDSGID=yes",
            "RestrictRealtime=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
        ];
        let strict = [
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes",
            "ProtectClock=yes",
            "ProtectHostname=yes",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
            "RestrictNamespaces=yes",
            "CapabilityBoundingSet=",
        ];
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        match self {
            Self::None => Vec::new(),
            Self::Basic => lines(&basic),
            Self::Strict => {
                let writable = format!("ReadWritePaths={directory}/shared");
                [lines(&basic), lines(&strict), vec![writable]].concat()
            }
        }
    }
}
