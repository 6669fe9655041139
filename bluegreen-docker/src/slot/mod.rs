//! The containers of a slot: looking at them, waiting for them, stopping them, and which images they are made of. What the
//! runtimes have in common.

pub(crate) mod brought_up;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod container_log;
pub(crate) mod failure;
pub(crate) mod fetch;
pub(crate) mod free_ports;
pub(crate) mod group;
pub(crate) mod logs;
pub(crate) mod names;
pub(crate) mod occupant;
pub(crate) mod owner;
pub(crate) mod pre_stop;
pub(crate) mod prune;
pub(crate) mod readiness;
pub(crate) mod records;
pub(crate) mod restart_policy;
pub(crate) mod slots;
pub(crate) mod start_notes;
pub(crate) mod take_down;
pub(crate) mod used_ports;
pub(crate) mod watch;
