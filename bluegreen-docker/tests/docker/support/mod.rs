//! What the tests need: an engine, images, a registry, a compose file; all removed again, also when a test fails.

mod data;
mod host;
mod images;
mod page;
mod proxy;
mod registry;
mod shop;

pub(crate) use data::{data_image, data_is_here, needs_data};
pub(crate) use host::NotingHost;
pub(crate) use images::{Images, remove_nameless};
pub(crate) use page::{get, serves};
pub(crate) use proxy::{Fate, engine_socket, proxy};
pub(crate) use registry::Registry;
pub(crate) use shop::{START_DEADLINE, Shop, WAITS, grace};

pub(crate) use bluegreen_testkit::docker::{docker, docker_ok, unique};
pub(crate) use bluegreen_testkit::patience::eventually;

use bluegreen_core::testing::part_is_here;
use bluegreen_testkit::docker::compose_is_here;
use bluegreen_testkit::process::answers;

/// Whether the parts are here.
pub(crate) fn parts_are_here() -> bool {
    compose_is_here() && part_is_here("a static busybox", answers(&["busybox", "true"]), "install busybox-static")
}

/// Leaves the test where the parts are missing.
macro_rules! needs_docker {
    () => {
        if !$crate::support::parts_are_here() {
            return;
        }
    };
}
pub(crate) use needs_docker;
