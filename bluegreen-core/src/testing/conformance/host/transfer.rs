use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{HOSTILE_NAME, HostFixture, Suite, pattern};
use crate::error::ErrorKind;
use crate::host::Host;
use crate::types::Progress;

impl<F: HostFixture> Suite<'_, F> {
    pub(super) async fn uploads_arrive_whole_and_once(&self) {
        let c = &self.contract;
        let scratch = self.scratch();
        let local = scratch.path().join(HOSTILE_NAME);
        let remote = self.path(HOSTILE_NAME);
        let nobody = Progress::none();
        for content in [pattern(3_000_001), Vec::new(), pattern(70_000)] {
            self.write_local(&local, &content);
            let clause = "an upload arrives whole, replaces what was there, and its progress ends at the whole";
            let (progress, seen) = watched();
            c.ok(clause, self.host.upload(&local, &remote, &progress).await);
            let found = self.content(&remote).await;
            c.holds(clause, found.as_ref() == Some(&content), found.map(|found| found.len()));
            self.reported(clause, &seen, content.len());

            let clause = "nothing is sent when the same content is there already";
            let before = self.fixture.identity(&remote).await;
            c.ok(clause, self.host.upload(&local, &remote, &nobody).await);
            c.same(clause, self.fixture.identity(&remote).await, before);
        }
        let clause = "other content of the same length is sent";
        let mut changed = pattern(70_000);
        changed[69_999] ^= 1;
        self.write_local(&local, &changed);
        c.ok(clause, self.host.upload(&local, &remote, &nobody).await);
        c.holds(clause, self.content(&remote).await == Some(changed.clone()), "the former content");

        let clause = "an upload of a file that does not exist is NotFound, and leaves the host's file alone";
        let missing = self.host.upload(&scratch.path().join("missing"), &remote, &nobody).await;
        c.refused_unapplied(clause, missing, &[ErrorKind::NotFound]);
        c.holds(clause, self.content(&remote).await == Some(changed), "another content");
        let clause = "an upload into a directory that does not exist is an error";
        match self.host.upload(&local, &self.path("no-directory/file"), &nobody).await {
            Ok(()) => c.broken(clause, "success"),
            Err(error) => self.names_the_host(&error),
        }
    }

    pub(super) async fn downloads_arrive_whole(&self) {
        let c = &self.contract;
        let scratch = self.scratch();
        let local = scratch.path().join(HOSTILE_NAME);
        let remote = self.path("downloaded file");
        for content in [pattern(3_000_001), Vec::new(), pattern(70_000)] {
            self.fixture.put(&remote, &content).await;
            let clause = "a download arrives whole, replaces what was there, and its progress ends at the whole";
            let (progress, seen) = watched();
            c.ok(clause, self.host.download(&remote, &local, &progress).await);
            let found = std::fs::read(&local).unwrap_or_default();
            c.holds(clause, found == content, found.len());
            self.reported(clause, &seen, content.len());
        }
        let clause = "a download of a file that does not exist is NotFound, and leaves the local file alone";
        let missing = self.host.download(&self.path("missing"), &local, &Progress::none()).await;
        self.names_the_host(&c.refused_unapplied(clause, missing, &[ErrorKind::NotFound]));
        c.same(clause, std::fs::read(&local).unwrap_or_default().len(), 70_000);
        let clause = "a finished download leaves nothing but its file";
        c.same(clause, std::fs::read_dir(scratch.path()).map_or(0, Iterator::count), 1);
    }

    pub(super) async fn cut_off_transfers_show_nothing_half(&self) {
        let c = &self.contract;
        let scratch = self.scratch();
        let versions = [pattern(2_000_000), vec![b'x'; 1_500_000]];
        let (local, back) = (scratch.path().join("local"), scratch.path().join("back"));
        let remote = self.path("cut-off");
        let nobody = Progress::none();
        for (number, cut_off) in self.fixture.cut_offs().into_iter().enumerate() {
            let content = &versions[number % 2];
            self.write_local(&local, content);
            let clause = "an upload that was cut off shows nothing half under its name, and can be repeated";
            let _ = cut_off.run(self.host.upload(&local, &remote, &nobody)).await;
            let found = self.content(&remote).await;
            let whole = found.as_ref().is_none_or(|found| versions.contains(found));
            c.holds(clause, whole, found.map(|found| found.len()));
            c.ok(clause, self.host.upload(&local, &remote, &nobody).await);
            let found = self.content(&remote).await;
            c.holds(clause, found.as_ref() == Some(content), found.map(|found| found.len()));

            let clause = "a download that was cut off shows nothing half under its name, and can be repeated";
            let _ = cut_off.run(self.host.download(&remote, &back, &nobody)).await;
            let found = std::fs::read(&back).ok();
            let whole = found.as_ref().is_none_or(|found| versions.contains(found));
            c.holds(clause, whole, found.map(|found| found.len()));
            c.ok(clause, self.host.download(&remote, &back, &nobody).await);
            let found = std::fs::read(&back).ok();
            c.holds(clause, found.as_ref() == Some(content), found.map(|found| found.len()));
        }
    }

    fn scratch(&self) -> tempfile::TempDir {
        tempfile::tempdir().unwrap_or_else(|error| self.contract.broken("the suite has a scratch directory", error))
    }

    fn write_local(&self, path: &Path, content: &[u8]) {
        if let Err(error) = std::fs::write(path, content) {
            self.contract.broken("the suite can write its own files", error);
        }
    }

    #[track_caller]
    fn reported(&self, clause: &str, seen: &Seen, length: usize) {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let rises = seen.is_sorted();
        let ends =
            if length == 0 { seen.last().is_none_or(|last| *last == 0) } else { seen.last() == Some(&(length as u64)) };
        self.contract.holds(clause, rises && ends, (length, seen.last()));
    }
}

type Seen = Arc<Mutex<Vec<u64>>>;

fn watched() -> (Progress, Seen) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let progress = Progress::new(move |_, done, _| sink.lock().unwrap_or_else(PoisonError::into_inner).push(done));
    (progress, seen)
}
