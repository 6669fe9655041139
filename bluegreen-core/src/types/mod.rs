//! The words of the domain as types. See each for what it guarantees.

mod host_port;
mod instance;
mod mask;
mod name;
mod per_slot;
mod progress;
mod release;
mod secret;
mod slot;
mod split;
mod time;

pub use host_port::host_port;
pub use instance::{Endpoint, Instance};
pub use mask::Mask;
pub use name::{MemberName, OperationId, ServiceName, Version};
pub use per_slot::PerSlot;
pub use progress::Progress;
pub use release::{Release, Target};
pub use secret::Secret;
pub use slot::Slot;
pub use split::Split;
pub use time::{Clock, SystemClock, Timestamp};
