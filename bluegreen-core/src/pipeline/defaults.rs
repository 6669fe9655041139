//! The defaults, each with its reason. Most of them can be changed on the [`PipelineBuilder`](super::PipelineBuilder).

use std::time::Duration;

/// Between two looks at an instance that starts: 1 s. Short against any start, long against what a look costs.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// For one look: 5 s. An instance that takes longer to answer a health check is not ready for traffic.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Healthy answers in a row: 3. One may come from a process that is about to crash, three span two seconds.
pub const HEALTHY_STREAK: u32 = 3;

/// For a start, and then again until healthy: 60 s. A runtime may say that its [starts](crate::Runtime::start_timeout)
/// take longer. Twice what kamal-proxy allows, because a JVM or a BEAM with a cold cache needs it.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// For requests in flight on the slot that lost its traffic: 30 s. Longer than nearly every request, and what load balancers
/// commonly allow.
pub const DRAIN: Duration = Duration::from_secs(30);

/// How long a holder of the lease may be silent: 15 s. It writes three times in that span, so two lost writes are no harm.
pub const LEASE_TTL: Duration = Duration::from_secs(15);

/// The longest [`LEASE_TTL`] that can be set: an hour. A deployer that died keeps the others waiting for that long.
pub const LONGEST_LEASE_TTL: Duration = Duration::from_secs(60 * 60);

/// The shortest [`LEASE_TTL`] that can be set: 100 ms. Below it, the pauses of a busy machine look like deaths.
pub const SHORTEST_LEASE_TTL: Duration = Duration::from_millis(100);

/// The longest time that can be set anywhere else: a year. Beyond it, arithmetic with clocks is not safe everywhere.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Answers in a row, over fresh connections, with the new version at the public address: 5. More than the workers of a
/// typical proxy, so one worker with an old configuration is noticed.
pub const VERIFY_STREAK: u32 = 5;

/// For the public address to answer that way: 30 s. A router has confirmed the shift before, so this is for caches and slow
/// links only.
pub const VERIFY_DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at the gates: 1 s. Scrapes are cheap, and the judgement does not mind how often it is asked.
pub const GATE_INTERVAL: Duration = Duration::from_secs(1);

/// How many times its own length a soak may be extended to while the gates are undecided: 3.
pub const MAX_SOAK_FACTOR: u32 = 3;

/// For transfers, pulls and unpacking: 30 minutes. A large image over a slow line.
pub const PREPARE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// For one phase of migrations: 30 minutes.
pub const MIGRATE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// For one answer of the state store to a claim of the lease, where the lease's ttl is shorter. The stores of this crate wait
/// 10 s for a lock, and their error says who holds it.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(15);

/// For one look at the router and the slots, or for telling the router where a slot listens: 60 s.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(60);

/// For one traffic shift: 5 minutes. Cloud APIs take up to minutes.
pub const SHIFT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// For all smoke tests together: 5 minutes.
pub const SMOKE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long each part of an undo is tried again when it fails for a reason that may pass: 60 s. A container engine or an
/// sshd that restarts is back within half a minute, and giving up needs a person.
pub const UNDO_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest pause between two tries of an undo: 5 s. All that time, traffic may be on a release that failed.
pub const UNDO_PAUSE: Duration = Duration::from_secs(5);

/// Between asking a process to stop and ending it by force: 30 s.
pub const STOP_GRACE: Duration = Duration::from_secs(30);

/// How long the old slot is kept warm: 24 hours, so that what shows in daily use can still be rolled back.
pub const RETAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How many lines of a failed slot's log go into the report: 100. An access log must not push out the line that matters.
pub const LOG_LINES: usize = 100;

/// How many looks a slot is given before a traffic step, and how many in a row may fail in a soak: 3. One lost packet must not
/// stop a deploy.
pub const LOOKS: u32 = 3;
