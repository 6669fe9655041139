use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Runtime, Stopped};
use crate::types::{Endpoint, Instance, PerSlot, Slot, Target, Version};

/// A runtime whose releases run in memory only. Each slot has a made-up address.
#[derive(Debug, Clone, Default)]
pub struct MemoryRuntime {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    prepared: BTreeMap<Version, Option<PathBuf>>,
    slots: PerSlot<Occupant>,
}

#[derive(Debug)]
struct Occupant {
    instance: Instance,
    /// Those that what runs was started with; none for what somebody else started.
    settings: Option<BTreeMap<String, String>>,
    logs: Vec<String>,
    away: bool,
}

impl Occupant {
    fn in_reach(&self) -> Result<()> {
        match self.away {
            true => Err(Error::new(ErrorKind::Unreachable, "no route to host").not_applied()),
            false => Ok(()),
        }
    }
}

impl Default for Occupant {
    fn default() -> Self {
        Self { instance: Instance::Absent, settings: None, logs: Vec::new(), away: false }
    }
}

impl MemoryRuntime {
    /// Two empty slots.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends what runs in a slot behind the pipeline's back.
    pub fn crash(&self, slot: Slot, reason: &str) {
        let mut inner = self.lock();
        let occupant = &mut inner.slots[slot];
        occupant.logs.push(reason.to_owned());
        let version = occupant.instance.version().cloned();
        occupant.instance = Instance::Stopped { version, reason: Some(reason.to_owned()) };
    }

    /// Ends a part of what runs in a slot behind the pipeline's back.
    pub fn degrade(&self, slot: Slot, reason: &str) {
        let occupant = &mut self.lock().slots[slot];
        let (version, endpoints) = (occupant.instance.version().cloned(), occupant.instance.endpoints().to_vec());
        occupant.instance = Instance::Degraded { version, endpoints, reason: reason.to_owned() };
    }

    /// Starts something in a slot behind the pipeline's back.
    pub fn start_by_hand(&self, slot: Slot, version: Version) {
        let occupant = &mut self.lock().slots[slot];
        occupant.instance = running(slot, version);
        occupant.settings = None;
    }

    /// Loses a prepared release, as a removed directory would: it cannot be started any more, and runs on where it runs.
    pub fn discard(&self, version: &Version) {
        self.lock().prepared.remove(version);
    }

    /// Takes the machine of a slot out of reach, or back into it. What runs there runs on.
    pub fn set_reachable(&self, slot: Slot, reachable: bool) {
        self.lock().slots[slot].away = !reachable;
    }

    /// Adds a line to a slot's log.
    pub fn log(&self, slot: Slot, line: &str) {
        self.lock().slots[slot].logs.push(line.to_owned());
    }

    /// What is in a slot now.
    pub fn instance(&self, slot: Slot) -> Instance {
        self.lock().slots[slot].instance.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for MemoryRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory runtime")
    }
}

#[async_trait]
impl Runtime for MemoryRuntime {
    async fn prepare(&self, target: &Target) -> Result<()> {
        let mut inner = self.lock();
        inner.slots[target.slot].in_reach()?;
        let artifact = target.release.artifact().map(PathBuf::from);
        match inner.prepared.get(target.version()) {
            Some(have) if *have != artifact => {
                Err(Error::new(ErrorKind::Conflict, format!("{} is present with other content", target.version()))
                    .with_operation("prepare a release")
                    .not_applied()
                    .with_hint("a version is never reused: give the new content a new version"))
            }
            _ => {
                inner.prepared.insert(target.version().clone(), artifact);
                Ok(())
            }
        }
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let mut inner = self.lock();
        inner.slots[target.slot].in_reach()?;
        let failed =
            |kind, text: String| Error::new(kind, text).with_operation(format!("start {target}")).not_applied();
        let is_prepared = inner.prepared.contains_key(target.version());
        let occupant = &mut inner.slots[target.slot];
        let settings = target.release.settings_map();
        match &occupant.instance {
            Instance::Running { version: Some(version), .. } if version == target.version() => {
                if occupant.settings.as_ref().is_some_and(|known| known != settings) {
                    return Err(failed(ErrorKind::Conflict, format!("{version} runs in the slot with other settings")));
                }
            }
            Instance::Running { .. } | Instance::Degraded { .. } => {
                let text = format!("the slot is occupied: {}", occupant.instance);
                return Err(failed(ErrorKind::Conflict, text));
            }
            Instance::Absent | Instance::Stopped { .. } if !is_prepared => {
                return Err(failed(ErrorKind::NotFound, format!("{} was not prepared", target.version())));
            }
            Instance::Absent | Instance::Stopped { .. } => {
                occupant.logs = vec![format!("{} started", target.version())];
                occupant.instance = running(target.slot, target.version().clone());
                occupant.settings = Some(settings.clone());
            }
        }
        Ok(occupant.instance.clone())
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let inner = self.lock();
        let occupant = &inner.slots[slot];
        occupant.in_reach()?;
        Ok(occupant.instance.clone())
    }

    async fn stop(&self, slot: Slot, _grace: Duration) -> Result<Stopped> {
        let mut inner = self.lock();
        let occupant = &mut inner.slots[slot];
        occupant.in_reach()?;
        if let Instance::Running { version, .. } | Instance::Degraded { version, .. } = &occupant.instance {
            occupant.logs.push("stopped".to_owned());
            occupant.instance = Instance::Stopped { version: version.clone(), reason: None };
        }
        Ok(Stopped::default())
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let inner = self.lock();
        inner.slots[slot].in_reach()?;
        let logs = &inner.slots[slot].logs;
        Ok(logs[logs.len().saturating_sub(tail)..].to_vec())
    }
}

fn running(slot: Slot, version: Version) -> Instance {
    let address = match slot {
        Slot::Blue => "blue.memory:80",
        Slot::Green => "green.memory:80",
    };
    Instance::Running { version: Some(version), endpoints: vec![Endpoint::http(address)] }
}
