//! The contract of `HealthCheck`, tested by core's suite against a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HealthCheckFixture};
use bluegreen_core::{Instance, Target, Version};
use bluegreen_http::HttpCheck;
use bluegreen_testkit::http::{Server, answer, target};

struct Served {
    server: Server,
    healthy: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    public: bool,
}

impl Served {
    async fn new(public: bool) -> Self {
        let (healthy, looks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (is_healthy, counted) = (healthy.clone(), looks.clone());
        let server = Server::answering(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let status = if is_healthy.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            answer(status, &[], format!(r#"{{"version":"{}"}}"#, target().version()))
        })
        .await;
        Self { server, healthy, looks, public }
    }
}

#[async_trait]
impl HealthCheckFixture for Served {
    type Check = HttpCheck;

    fn check(&self) -> HttpCheck {
        let check = match self.public {
            true => HttpCheck::builder(format!("http://{}/health", self.server.address)),
            false => HttpCheck::builder("/health"),
        };
        check.version_from_json("/version").build().unwrap()
    }

    async fn subject(&self) -> (Target, Instance) {
        (target(), self.server.instance())
    }

    async fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::SeqCst);
    }

    fn version(&self) -> Option<Version> {
        Some(target().version().clone())
    }

    fn looks_at_the_instance(&self) -> bool {
        !self.public
    }

    async fn looks(&self) -> Option<u64> {
        Some(self.looks.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_check_of_the_instance_keeps_its_contract() {
    conformance::health_check(&Served::new(false).await).await;
}

#[tokio::test]
async fn a_check_of_the_public_address_keeps_its_contract() {
    conformance::health_check(&Served::new(true).await).await;
}
