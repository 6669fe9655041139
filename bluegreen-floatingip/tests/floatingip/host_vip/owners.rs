//! Two services and one address: the second is refused, before anything is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bluegreen_core::{Effect, ErrorKind, Reason, Result, Router, ServiceName, Slot, Split};
use bluegreen_floatingip::{FloatingIpRouter, Lingering};
use bluegreen_testkit::lab::{NamespaceHost, Network, Outage};
use tempfile::TempDir;

use super::moves::{quick, vip_marked_in};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

struct Lab {
    network: Network,
    marks: TempDir,
}

impl Lab {
    fn create() -> Option<Self> {
        let marks = TempDir::new().unwrap();
        // As the parent of the real directory is.
        fs::set_permissions(marks.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { network: Network::create()?, marks })
    }

    fn router(&self, service: &str) -> FloatingIpRouter {
        self.counted(service, &Outage::of(0..0, false))
    }

    fn counted(&self, service: &str, commands: &Outage) -> FloatingIpRouter {
        let host = |slot| NamespaceHost::of(self.network.server(slot)).with(commands);
        let address = Network::address(Network::V4);
        let router = quick(vip_marked_in(Some(self.marks.path()), address, Lingering::Leave, host));
        if !service.is_empty() {
            router.bind_service(&ServiceName::new(service).unwrap()).unwrap();
        }
        router
    }

    fn mark(&self, slot: Slot) -> Option<String> {
        fs::read_to_string(self.marks.path().join(slot.to_string()).join(Network::V4)).ok()
    }

    fn files(&self, slot: Slot) -> usize {
        fs::read_dir(self.marks.path().join(slot.to_string())).unwrap().count()
    }
}

fn is_anothers<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::OtherService)), "{what}: {error}");
    assert_eq!(error.effect(), Effect::NotApplied, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_marked_by_the_commands_that_move_it_and_by_no_others() {
    let Some(lab) = Lab::create() else { return };
    let (unmarked, marked) = (Outage::of(0..0, false), Outage::of(0..0, false));
    lab.router("").shift(None, BLUE).await.unwrap();
    assert_eq!(lab.mark(Slot::Blue), None, "without a pipeline nothing is marked");
    let shop = lab.router("shop");
    assert_eq!(shop.current().await.unwrap(), Some(BLUE));
    assert_eq!(lab.mark(Slot::Blue), None, "who only looks writes nothing");
    lab.counted("", &unmarked).shift(Some(BLUE), GREEN).await.unwrap();
    lab.counted("", &unmarked).shift(Some(GREEN), BLUE).await.unwrap();
    for (from, to) in [(Some(BLUE), GREEN), (Some(GREEN), BLUE)] {
        lab.counted("shop", &marked).shift(from, to).await.unwrap();
    }
    assert_eq!(marked.commands(), unmarked.commands(), "a mark costs no command");
    for slot in Slot::BOTH {
        assert_eq!(lab.mark(slot).as_deref(), Some("shop\n"), "{slot}");
        assert_eq!(lab.files(slot), 1, "nothing but the mark is left on {slot}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_refused_by_every_method_and_nothing_moves() {
    let Some(lab) = Lab::create() else { return };
    lab.router("shop").shift(None, BLUE).await.unwrap();
    let other = || lab.router("blog");
    is_anothers("current", other().current().await);
    is_anothers("preview", other().preview(Slot::Green).await);
    is_anothers("detach", other().detach(Slot::Green).await);
    is_anothers("in_flight", other().in_flight(Slot::Blue).await);
    for to in [BLUE, GREEN] {
        is_anothers("shift", other().shift(Some(BLUE), to).await);
    }
    assert_eq!(lab.network.sole_holder(Network::V4), Slot::Blue);
    assert_eq!((lab.mark(Slot::Blue).as_deref(), lab.mark(Slot::Green)), (Some("shop\n"), None));
    // Only the other server knows.
    fs::remove_dir_all(lab.marks.path().join("blue")).unwrap();
    fs::create_dir_all(lab.marks.path().join("green")).unwrap();
    fs::write(lab.marks.path().join("green").join(Network::V4), "shop\n").unwrap();
    is_anothers("shift", other().shift(Some(BLUE), GREEN).await);
    lab.router("shop").shift(Some(BLUE), GREEN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_a_crash_left_empty_is_nobodys() {
    let Some(lab) = Lab::create() else { return };
    for slot in Slot::BOTH {
        let directory = lab.marks.path().join(slot.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(Network::V4), "").unwrap();
    }
    lab.router("shop").shift(None, BLUE).await.unwrap();
    assert_eq!(lab.mark(Slot::Blue).as_deref(), Some("shop\n"));
    assert_eq!(lab.files(Slot::Blue), 1);
}
