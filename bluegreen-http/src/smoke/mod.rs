//! [`SmokeTest`]: a scenario of requests, asked of a staged release.

mod builder;
mod capture;
mod expect;
mod file;
mod run;
mod step;
mod template;
mod variables;

use std::collections::BTreeMap;

use bluegreen_core::Secret;
use serde_json::Value;

pub use builder::SmokeTestBuilder;
pub use capture::Capture;
pub use step::Step;

use crate::reach::Reach;
use step::CompiledStep;

/// Requests in order, each with what is expected of its answer: log in, place an order, read it back.
///
/// ```
/// use bluegreen_core::Secret;
/// use bluegreen_http::{Capture, SmokeTest, Step};
/// use serde_json::json;
///
/// let test = SmokeTest::builder("checkout")
///     .secret("password", Secret::new("from a vault, or Secret::from_env"))
///     .step(
///         Step::post("log in", "/login")
///             .json(json!({"user": "smoke", "password": "{{password}}"}))
///             .capture("token", Capture::json("/token")),
///     )
///     .step(
///         Step::post("place an order", "/orders")
///             .header("authorization", "Bearer {{token}}")
///             .json(json!({"item": 7, "note": "smoke-{{random}}"}))
///             .expect_status(201)
///             .expect_header_exists("location"),
///     )
///     .build()?;
/// # let _ = test;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// The same as a file, loaded by [`SmokeTest::from_file`]; every key of a step is a setter of [`Step`]:
///
/// ```
/// # let toml = r#"
/// name = "checkout"
/// secrets.password = { env = "SMOKE_PASSWORD" }
///
/// [[steps]]
/// name = "log in"
/// method = "POST"
/// path = "/login"
/// json = { user = "smoke", password = "{{password}}" }
/// capture.token = { json = "/token" }
///
/// [[steps]]
/// name = "place an order"
/// method = "POST"
/// path = "/orders"
/// headers.authorization = "Bearer {{token}}"
/// json = { item = 7, note = "smoke-{{random}}" }
/// expect = { status = 201, headers_exist = ["location"], within_ms = 800 }
/// # "#;
/// # let builder = bluegreen_http::SmokeTestBuilder::from_toml(toml)?;
/// # builder.secret("password", bluegreen_core::Secret::new("x")).build()?;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// # Variables
///
/// `{{name}}` stands for a variable, a secret, or a capture of an earlier step. These are there always: `{{random}}`
/// (ten characters of `a-z0-9`, the same within one run), `{{timestamp}}` (seconds since 1970, likewise),
/// `{{version}}` and `{{slot}}` (of the release that is tested). A name that nothing defines is found by
/// [`build`](SmokeTestBuilder::build), before anything is sent. A `{{` that is meant as such is written `{{{{`.
///
/// # What it guarantees
///
/// - As a [`HealthCheck`](bluegreen_core::HealthCheck), it is healthy when every step was as expected. The first one
///   that is not ends the run; the reason names the step, the request and the answer.
/// - Secrets, and captures that are not [`shown`](Capture::shown), are masked in that reason, wherever they appear.
/// - Each request has a connection and a time limit of its own. Redirects are not followed.
/// - An instance with several endpoints of the name runs the scenario once on each, one after the other.
#[derive(Debug, Clone)]
pub struct SmokeTest {
    name: String,
    reach: Reach,
    variables: BTreeMap<String, Value>,
    secrets: BTreeMap<String, Secret>,
    steps: Vec<CompiledStep>,
}

impl SmokeTest {
    /// A smoke test of this name, built in Rust.
    pub fn builder(name: impl Into<String>) -> SmokeTestBuilder {
        SmokeTestBuilder::new(name.into())
    }
}
