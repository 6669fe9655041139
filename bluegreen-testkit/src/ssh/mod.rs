//! SSH servers of a test's own on the loopback, with their keys. How an adapter reaches them is the test's to say.

mod agent;
mod keys;
mod kind;
mod server;
mod sshd;
mod unpacked;

pub use agent::Agent;
pub use keys::{keygen, keygen_with};
pub use kind::Kind;
pub use server::SshServer;
pub use sshd::{Sshd, configure, sshd_is_here};
