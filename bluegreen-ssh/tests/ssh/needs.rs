//! Leave a test where a part of it is missing.

macro_rules! needs_sshd {
    () => {
        if !bluegreen_testkit::ssh::sshd_is_here() {
            return;
        }
    };
}

macro_rules! needs_mix {
    () => {
        if !bluegreen_testkit::beam::mix_is_here() {
            return;
        }
    };
}

/// There is git, and a web server.
macro_rules! needs_git {
    () => {
        if !crate::git_lab::git_is_here() {
            return;
        }
    };
}
