use std::io::Write;
use std::sync::{Arc, Mutex};

use bluegreen_core::event::EventKind;
use bluegreen_core::observer::{self, JsonLines, LineLog};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Event, Slot};

use crate::world::{World, release, service};

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_begins_and_ends_in_the_events() {
    let world = World::new();
    let report = world.pipeline().deploy(release("1")).await.unwrap();
    let events = world.events.lock().unwrap().clone();
    let started = events.iter().filter(|event| matches!(event.what, EventKind::StepStarted { .. })).count();
    let done = events.iter().filter(|event| matches!(event.what, EventKind::StepDone { .. })).count();
    assert_eq!((started, done), (report.steps.len(), report.steps.len()));
    assert!(matches!(events.last().unwrap().what, EventKind::Finished { .. }));
    assert!(events.iter().all(|event| event.operation == report.operation));
    let shifted = events.iter().find(|event| matches!(event.what, EventKind::Shifted { .. })).unwrap();
    assert_eq!(shifted.slot, Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn json_lines_can_be_read_back_as_events() {
    let world = World::new();
    let written = Shared::default();
    let pipeline = world.builder().observer(JsonLines::new(written.clone())).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    let read: Vec<Event> = written.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, *world.events.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_line_log_tells_the_story_of_a_failed_deploy() {
    let world = World::new();
    let written = Shared::default();
    let pipeline = world.builder().observer(LineLog::new(written.clone())).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("runtime.start", Fault::Fail);
    pipeline.deploy(release("2")).await.unwrap_err();
    let text = written.text();
    for part in [
        "shop: deploy 1 begins, slot blue",
        "shop: traffic moved from nothing to 100 % blue",
        "shop: start FAILED",
        "shop: deploy aborted before any traffic moved",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_told_to_begin_before_what_it_sees_and_keeps_what_it_found() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.events.lock().unwrap().clear();
    world.pipeline().deploy(release("2")).await.unwrap();
    let events = world.events.lock().unwrap().clone();
    let mut running = None;
    for event in &events {
        match &event.what {
            EventKind::StepStarted { .. } => running = event.step,
            EventKind::Checked { .. } | EventKind::Draining { .. } => {
                assert!(event.step.is_some() && event.step == running, "{event:?} is told while {running:?} runs");
            }
            EventKind::StepDone { detail, .. } => {
                let has_found = ["health", "verify", "drain"].contains(&event.step.unwrap().to_string().as_str());
                assert!(!has_found || detail.is_some(), "{event:?}");
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_told_to_begin_is_in_the_journal() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let (store, told) = (world.store.clone(), Arc::new(Mutex::new(0)));
    let count = told.clone();
    let journal = observer::from_fn(move |event: &Event| {
        if let (EventKind::StepStarted { .. }, Some(step)) = (&event.what, event.step) {
            let operation = store.state(&service()).unwrap().operation.unwrap();
            assert!(operation.started(step), "{step} is told, and is not in {:?}", operation.journal);
            *count.lock().unwrap() += 1;
        }
    });
    let report = world.builder().observer(journal).build().unwrap().deploy(release("2")).await.unwrap();
    assert_eq!(*told.lock().unwrap(), report.steps.len());
}
