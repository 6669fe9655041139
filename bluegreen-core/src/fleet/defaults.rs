//! The numbers of a fleet, each with its reason.

use std::time::Duration;

/// For one call on one member: 5 minutes, as long as a [shift](crate::pipeline::defaults::SHIFT_TIMEOUT) may take.
/// Transfers have [`PREPARE_DEADLINE`].
pub const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// For bringing a release to one member: 25 minutes. Less than a pipeline's
/// [`PREPARE_TIMEOUT`](crate::pipeline::defaults::PREPARE_TIMEOUT), so that one slow line fails one member and not the deploy.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(25 * 60);

/// For one look at a member: 20 s. Three fit into a pipeline's
/// [`OBSERVE_TIMEOUT`](crate::pipeline::defaults::OBSERVE_TIMEOUT).
pub const LOOK_DEADLINE: Duration = Duration::from_secs(20);

/// How many times a call that may pass is made again before the member counts as failed: 2.
pub const RETRIES: u32 = 2;

/// Before the first of them: 500 ms, and twice as long before each further one.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How many members are worked on at the same time: 50. More connections at once exceed what the sockets and the uplink of
/// one machine commonly take.
pub const MAX_PARALLEL: usize = 50;
