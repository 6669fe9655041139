//! Images: their names, who may fetch them, and fetching and sending them.

mod credentials;
mod policy;
mod pull;
mod push;
mod reference;
mod registry;

pub(crate) use credentials::credentials_for;
pub(crate) use policy::PullPolicy;
pub(crate) use pull::{Pulled, find_local, pull};
pub(crate) use push::push;
pub(crate) use reference::Reference;
pub(crate) use registry::{digest_in_registry, registry_error};
