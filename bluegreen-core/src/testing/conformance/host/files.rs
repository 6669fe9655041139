use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{HOSTILE_NAME, HostFixture, Suite, pattern};
use crate::host::Host;

impl<F: HostFixture> Suite<'_, F> {
    pub(super) async fn files_are_read_as_they_are(&self) {
        let c = &self.contract;
        let path = self.path(HOSTILE_NAME);
        let clause = "read gives None where there is no file";
        c.same(clause, c.ok(clause, self.host.read(&path).await), None);
        c.same(clause, c.ok(clause, self.host.read(&format!("{path}/not/there")).await), None);
        let clause = "read gives the content unchanged";
        for content in [Vec::new(), b"\n\n".to_vec(), pattern(3_000_000)] {
            self.fixture.put(&path, &content).await;
            let found = c.ok(clause, self.host.read(&path).await);
            c.holds(clause, found.as_ref() == Some(&content), found.map(|found| found.len()));
        }
        let clause = "what cannot be read is an error, not None";
        match self.host.read(&self.fixture.directory()).await {
            Ok(found) => c.broken(clause, format!("{found:?} for a directory")),
            Err(error) => self.names_the_host(&error),
        }
    }

    pub(super) async fn files_are_replaced_whole(&self) {
        let c = &self.contract;
        let clause = "a reader sees the old content or the new one, whole";
        let path = self.path("replaced");
        let versions = [pattern(400_000), vec![b'x'; 300_000]];
        c.ok(clause, self.host.write(&path, &versions[0], 0o600).await);
        let done = AtomicBool::new(false);
        let write = async {
            for number in 1..=20 {
                c.ok(clause, self.host.write(&path, &versions[number % 2], 0o600).await);
            }
            done.store(true, Ordering::Release);
        };
        let read = async {
            while !done.load(Ordering::Acquire) {
                let found = self.content(&path).await;
                let whole = found.as_ref().is_some_and(|found| versions.contains(found));
                c.holds(clause, whole, found.map(|found| found.len()));
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(write, read);

        let clause = "a write that was cut off left the old content or the new one, and can be repeated";
        for (number, cut_off) in self.fixture.cut_offs().into_iter().enumerate() {
            let _ = cut_off.run(self.host.write(&path, &versions[number % 2], 0o600)).await;
            let found = self.content(&path).await;
            let whole = found.as_ref().is_some_and(|found| versions.contains(found));
            c.holds(clause, whole, found.map(|found| found.len()));
            c.ok(clause, self.host.write(&path, &versions[number % 2], 0o600).await);
            let found = self.content(&path).await;
            c.holds(clause, found.as_ref() == Some(&versions[number % 2]), found.map(|found| found.len()));
        }
    }

    pub(super) async fn files_keep_their_mode_and_nothing_is_left_over(&self) {
        let c = &self.contract;
        let directory = self.path("modes");
        self.fixture.make_directory(&directory).await;
        let path = format!("{directory}/{HOSTILE_NAME}");
        let clause = "a file has the content and the mode that were asked for, whatever it had before";
        for (number, mode) in [0o600, 0o644, 0o755, 0o666, 0o400, 0o600].into_iter().enumerate() {
            let content = pattern(number * 1000);
            c.ok(clause, self.host.write(&path, &content, mode).await);
            let found = self.fixture.look(&path).await;
            c.holds(clause, found == Some((content, mode)), found.map(|(content, mode)| (content.len(), mode)));
        }
        let clause = "a finished write leaves nothing but its file";
        c.same(clause, self.fixture.list(&directory).await, vec![HOSTILE_NAME.to_owned()]);

        let clause = "a write into a directory that does not exist is an error that changed nothing";
        match self.host.write(&self.path("no-directory/file"), b"x", 0o600).await {
            Ok(()) => c.broken(clause, "success"),
            Err(error) => self.names_the_host(&error),
        }
        c.holds(
            clause,
            !self.fixture.list(&self.fixture.directory()).await.contains(&"no-directory".to_owned()),
            "one",
        );
    }

    pub(super) async fn links_are_replaced_in_one_step(&self) {
        let c = &self.contract;
        let directory = self.path("links");
        let releases = [format!("{directory}/{HOSTILE_NAME}"), format!("{directory}/release-2")];
        self.fixture.make_directory(&directory).await;
        for release in &releases {
            self.fixture.make_directory(release).await;
        }
        let link = format!("{directory}/it's current");
        let clause = "a link points to its target, unchanged";
        for target in [releases[0].as_str(), "release-2", "-n", "does not exist"] {
            c.ok(clause, self.host.symlink(target, &link).await);
            c.same(clause, self.fixture.look_at_link(&link).await, Some(target.to_owned()));
        }
        c.ok(clause, self.host.symlink(&releases[0], &link).await);
        let done = AtomicBool::new(false);
        let swap = async {
            let clause = "an existing link is replaced, not followed";
            for number in 1..=20 {
                let target = &releases[number % 2];
                c.ok(clause, self.host.symlink(target, &link).await);
                c.same(clause, self.fixture.look_at_link(&link).await.as_ref(), Some(target));
                c.holds(clause, self.fixture.list(&releases[0]).await.is_empty(), "a link inside the directory");
            }
            done.store(true, Ordering::Release);
        };
        let watch = async {
            let clause = "a link is there at every moment of its replacement";
            while !done.load(Ordering::Acquire) {
                let found = self.fixture.look_at_link(&link).await;
                c.holds(clause, found.as_ref().is_some_and(|found| releases.contains(found)), &found);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(swap, watch);
        let clause = "a finished replacement leaves nothing but the link";
        c.same(clause, self.fixture.list(&directory).await.len(), 3);

        let clause = "a replacement that was cut off left the old link or the new one, and can be repeated";
        for (number, cut_off) in self.fixture.cut_offs().into_iter().enumerate() {
            let target = &releases[number % 2];
            let _ = cut_off.run(self.host.symlink(target, &link)).await;
            let found = self.fixture.look_at_link(&link).await;
            c.holds(clause, found.as_ref().is_some_and(|found| releases.contains(found)), &found);
            c.ok(clause, self.host.symlink(target, &link).await);
            c.same(clause, self.fixture.look_at_link(&link).await.as_ref(), Some(target));
        }
    }

    pub(super) async fn what_was_cut_off_does_not_land_later(&self) {
        let c = &self.contract;
        let directory = self.path("late");
        self.fixture.make_directory(&directory).await;
        let (link, file) = (format!("{directory}/link"), format!("{directory}/file"));
        // Several at once are slower than the one that comes after them: what lands too late is seen.
        const AT_ONCE: usize = 6;
        for cut_off in self.fixture.cut_offs() {
            let clause =
                "a link that was to be replaced and was cut off is not replaced after a later call that succeeded";
            let early = (0..AT_ONCE).map(|_| cut_off.run(self.host.symlink("green", &link)));
            futures::future::join_all(early).await;
            c.ok(clause, self.host.symlink("blue", &link).await);
            self.stays(clause, || self.fixture.look_at_link(&link), &Some("blue".to_owned())).await;

            let clause = "a file whose writing was cut off is not replaced after a later call that succeeded";
            let early = (0..AT_ONCE).map(|_| cut_off.run(self.host.write(&file, b"green", 0o600)));
            futures::future::join_all(early).await;
            c.ok(clause, self.host.write(&file, b"blue", 0o600).await);
            self.stays(clause, || self.content(&file), &Some(b"blue".to_vec())).await;
        }
    }

    /// Looks at something until what could still be under way has ended.
    async fn stays<T: PartialEq + std::fmt::Debug, L: Future<Output = T>>(
        &self,
        clause: &str,
        look: impl Fn() -> L,
        expected: &T,
    ) {
        for _ in 0..10 {
            let found = look().await;
            self.contract.holds(clause, found == *expected, &found);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
