use std::io::Write;
use std::sync::{Arc, Mutex};

use bluegreen_core::event::What;
use bluegreen_core::observer::{JsonLines, LineLog};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Event, Slot};

use crate::world::{World, release};

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
    let started = events.iter().filter(|event| matches!(event.what, What::StepStarted { .. })).count();
    let done = events.iter().filter(|event| matches!(event.what, What::StepDone { .. })).count();
    assert_eq!((started, done), (report.steps.len(), report.steps.len()));
    assert!(matches!(events.last().unwrap().what, What::Finished { .. }));
    assert!(events.iter().all(|event| event.operation == report.operation));
    let shifted = events.iter().find(|event| matches!(event.what, What::Shifted { .. })).unwrap();
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
