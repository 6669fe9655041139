//! What a pipeline is made of, for its verbs and steps.

use std::sync::Arc;
use std::time::Duration;

use super::cancel::Cancel;
use super::defaults;
use super::strategy::{Contract, Retention, Strategy};
use crate::fleet::Fleet;
use crate::gate::Gate;
use crate::health::HealthCheck;
use crate::hook::HookStep;
use crate::migrator::Migrator;
use crate::observer::Observer;
use crate::router::Router;
use crate::runtime::Runtime;
use crate::state::HookName;
use crate::store::StateStore;
use crate::types::{Clock, ServiceName};

/// Everything a pipeline is made of.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) service: ServiceName,
    pub(super) holder: String,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) router: Arc<dyn Router>,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) health: Arc<dyn HealthCheck>,
    pub(super) verify: Arc<dyn HealthCheck>,
    pub(super) smoke: Vec<Arc<dyn HealthCheck>>,
    pub(super) migrator: Option<Arc<dyn Migrator>>,
    pub(super) gates: Vec<Arc<dyn Gate>>,
    pub(super) hooks: Vec<(HookName, HookStep)>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
    pub(super) fleet: Option<Fleet>,
    pub(super) strategy: Strategy,
    pub(super) retention: Retention,
    pub(super) contract: Contract,
    pub(super) require_healthy_rollback_target: bool,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cancel: Cancel,
}

/// The numbers of a pipeline. See [`defaults`] for each and its reason.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) check_interval: Duration,
    pub(super) check_timeout: Duration,
    pub(super) healthy_streak: u32,
    pub(super) start_deadline: Duration,
    pub(super) verify_streak: u32,
    pub(super) verify_deadline: Duration,
    pub(super) drain: Duration,
    pub(super) stop_grace: Duration,
    pub(super) gate_interval: Duration,
    pub(super) lease_ttl: Duration,
    pub(super) prepare_timeout: Duration,
    pub(super) migrate_timeout: Duration,
    pub(super) shift_timeout: Duration,
    pub(super) smoke_timeout: Duration,
    pub(super) undo_timeout: Duration,
    pub(super) log_lines: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            check_interval: defaults::CHECK_INTERVAL,
            check_timeout: defaults::CHECK_TIMEOUT,
            healthy_streak: defaults::HEALTHY_STREAK,
            start_deadline: defaults::START_DEADLINE,
            verify_streak: defaults::VERIFY_STREAK,
            verify_deadline: defaults::VERIFY_DEADLINE,
            drain: defaults::DRAIN,
            stop_grace: defaults::STOP_GRACE,
            gate_interval: defaults::GATE_INTERVAL,
            lease_ttl: defaults::LEASE_TTL,
            prepare_timeout: defaults::PREPARE_TIMEOUT,
            migrate_timeout: defaults::MIGRATE_TIMEOUT,
            shift_timeout: defaults::SHIFT_TIMEOUT,
            smoke_timeout: defaults::SMOKE_TIMEOUT,
            undo_timeout: defaults::UNDO_TIMEOUT,
            log_lines: defaults::LOG_LINES,
        }
    }
}
