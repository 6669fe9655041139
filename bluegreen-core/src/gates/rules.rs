//! [`Rules`]: what the verdicts are reached by.

use std::time::Duration;

use crate::gates::damage::DamageCap;
use crate::gates::evidence::{AboveLimit, BelowLimit};
use crate::gates::unit::Unit;

/// What the verdicts are reached by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) unit: Unit,
    pub(super) limit: f64,
    pub(super) above: AboveLimit,
    pub(super) below: BelowLimit,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) warm_up: Duration,
    pub(super) require_traffic_by: Option<Duration>,
    pub(super) damage_cap: Option<DamageCap>,
    pub(super) routing_guard: bool,
}
