//! `SmokeTest` against a small shop, and against servers that misbehave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bluegreen_core::{Endpoint, ErrorKind, Health, HealthCheck, Instance, Secret};
use bluegreen_http::{Capture, SmokeTest, SmokeTestBuilder, Step};
use bluegreen_testkit::http::{Server, answer, read_request, refusing, running, target};
use serde_json::{Value, json};

/// A shop with accounts, orders and a form: what a smoke test is written for.
struct Shop {
    instance: Instance,
    orders: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Orders = State<Arc<Mutex<Vec<Value>>>>;

async fn log_in(Json(body): Json<Value>) -> impl IntoResponse {
    if body["password"] != "pa\"ss" {
        return (StatusCode::FORBIDDEN, HeaderMap::new(), Json(json!({"denied": body})));
    }
    let mut headers = HeaderMap::new();
    headers.append("set-cookie", "theme=dark; Path=/".parse().unwrap());
    headers.append("set-cookie", "session=c00kie; Path=/; HttpOnly".parse().unwrap());
    (StatusCode::OK, headers, Json(json!({"token": "t0k/en", "user": {"id": 7}})))
}

async fn place(State(orders): Orders, headers: HeaderMap, Json(order): Json<Value>) -> impl IntoResponse {
    if headers["authorization"] != "Bearer t0k/en" || headers["cookie"] != "session=c00kie" {
        return (StatusCode::UNAUTHORIZED, HeaderMap::new(), Json(Value::Null));
    }
    let mut orders = orders.lock().unwrap();
    orders.push(order.clone());
    let mut answer = HeaderMap::new();
    answer.insert("location", format!("/orders/{}", orders.len()).parse().unwrap());
    (StatusCode::CREATED, answer, Json(json!({"id": orders.len(), "order": order})))
}

async fn read(State(orders): Orders, Path(id): Path<usize>) -> impl IntoResponse {
    match orders.lock().unwrap().get(id.wrapping_sub(1)) {
        Some(order) => (StatusCode::OK, Json(json!({"id": id, "order": order}))),
        None => (StatusCode::NOT_FOUND, Json(json!({"no order": id}))),
    }
}

async fn shop() -> Shop {
    let orders = Arc::new(Mutex::new(Vec::new()));
    let app = Router::new()
        .route("/login", post(log_in))
        .route("/orders", post(place))
        .route("/orders/{id}", get(read))
        .route("/echo/{text}", get(|Path(text): Path<String>| async move { text }))
        .route("/form", get(|| async { "<input name=\"csrf\" value=\"f0rm\">" }))
        .with_state(Arc::clone(&orders));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = running([Endpoint::http(listener.local_addr().unwrap().to_string())]);
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Shop { instance, orders, task }
}

fn checkout() -> SmokeTestBuilder {
    SmokeTest::builder("checkout")
        .secret("password", Secret::new("pa\"ss"))
        .step(
            Step::post("log in", "/login")
                .json(json!({"user": "smoke", "password": "{{password}}"}))
                .expect_json_exists("/token")
                .capture("token", Capture::json("/token"))
                .capture("user", Capture::json("/user/id").shown())
                .capture("session", Capture::header("set-cookie").matching("session=([^;]+)")),
        )
        .step(
            Step::post("place an order", "/orders")
                .header("authorization", "Bearer {{token}}")
                .header("cookie", "session={{session}}")
                .json(json!({"user": "{{user}}", "note": "{{slot}} {{version}} {{random}}", "at": "{{timestamp}}"}))
                .expect_status(201)
                .expect_header("location", "/orders/1")
                .expect_header_contains("content-type", "application/json")
                .expect_json("/order/user", "{{user}}")
                .capture("order", Capture::json("/id").shown())
                .capture("place", Capture::header("location").shown()),
        )
        .step(
            Step::get("read it by its number", "/orders/{{order}}")
                .expect_json("/id", "{{order}}")
                .expect_body_contains("{{random}}")
                .expect_body_lacks("error")
                .within(Duration::from_secs(5)),
        )
        .step(Step::get("read it by its address", "{{place}}").expect_json("/id", 1))
}

async fn run(builder: SmokeTestBuilder, instance: &Instance) -> Health {
    builder.build().unwrap().check(&target(), instance).await.unwrap()
}

async fn reason(builder: SmokeTestBuilder, instance: &Instance) -> String {
    match run(builder, instance).await {
        Health::Unhealthy { reason } => reason,
        healthy => panic!("{healthy:?}"),
    }
}

fn one(step: Step) -> SmokeTestBuilder {
    SmokeTest::builder("one").step(step)
}

#[tokio::test]
async fn a_scenario_logs_in_orders_and_reads_back_with_what_it_captured() {
    let shop = shop().await;
    assert_eq!(run(checkout(), &shop.instance).await, Health::healthy());
    let orders = shop.orders.lock().unwrap().clone();
    let order = &orders[0];
    assert_eq!(order["user"], json!(7), "a captured number stays a number");
    assert!(order["at"].as_u64().is_some_and(|at| at > 1_700_000_000), "{order}");
    let note = order["note"].as_str().unwrap();
    let random = note.strip_prefix("green 2.0 ").unwrap();
    assert!(random.len() == 10 && random.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{note}");
}

#[tokio::test]
async fn the_random_suffix_is_another_one_in_each_run() {
    let shop = shop().await;
    let test = checkout().build().unwrap();
    test.check(&target(), &shop.instance).await.unwrap();
    test.check(&target(), &shop.instance).await.unwrap();
    let orders = shop.orders.lock().unwrap();
    assert_ne!(orders[0]["note"], orders[1]["note"]);
}

#[tokio::test]
async fn the_failed_step_is_named_with_request_and_answer_and_secrets_are_masked() {
    let shop = shop().await;
    let wrong = checkout().secret("password", Secret::new("hid\"den"));
    let reason = reason(wrong, &shop.instance).await;
    let Instance::Running { endpoints, .. } = &shop.instance else { panic!() };
    let expected = format!(
        "smoke test checkout, step 1 of 4 `log in`: POST http://{}/login with `{{\"password\":\"***\",\"user\":\"smoke\"}}`: \
         expected status 200 to 299, got 403 Forbidden: `{{\"denied\":{{\"password\":\"***\",\"user\":\"smoke\"}}}}`",
        endpoints[0].address
    );
    assert_eq!(reason, expected);
    assert!(shop.orders.lock().unwrap().is_empty(), "nothing after the failed step is asked");
}

#[tokio::test]
async fn captured_values_are_masked_in_the_request_and_the_answer_unless_shown() {
    let shop = shop().await;
    let test = checkout()
        .step(Step::get("repeat", "/echo/{{token}}").expect_body_contains("{{session}} {{order}}"))
        .build()
        .unwrap();
    let Health::Unhealthy { reason } = test.check(&target(), &shop.instance).await.unwrap() else { panic!() };
    assert!(reason.contains("/echo/***: expected `*** 1` in the body, got 200 OK: `***`"), "{reason}");
    for secret in ["t0k/en", "t0k%2Fen", "c00kie"] {
        assert!(!reason.contains(secret), "{reason}");
    }
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let builder = checkout();
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(!shown.contains("pa\\\"ss") && !shown.contains("pa\"ss"), "{shown}");
}

#[tokio::test]
async fn a_value_in_a_path_can_reach_no_other_path() {
    let shop = shop().await;
    for value in ["a/b", "a?b=c", "a#b", "a%2Fb", "ü €", "a b", "/orders/1", "a&b", "..."] {
        let test = one(Step::get("echo", "/echo/{{value}}").expect_body_contains("{{value}}")).variable("value", value);
        assert_eq!(run(test, &shop.instance).await, Health::healthy(), "{value}");
    }
    for value in ["..", "."] {
        let test = one(Step::get("echo", "/echo/{{value}}")).variable("value", value);
        let reason = reason(test, &shop.instance).await;
        assert!(reason.contains("the request cannot be made") && reason.contains("segment"), "{reason}");
    }
    let elsewhere = one(Step::get("follow", "{{value}}")).variable("value", "https://evil.example.com/");
    let reason = reason(elsewhere, &shop.instance).await;
    assert!(reason.contains("must begin with /"), "{reason}");
}

#[tokio::test]
async fn a_value_cannot_begin_another_header() {
    let shop = shop().await;
    let test =
        one(Step::get("echo", "/echo/a").header("x-key", "{{key}}")).secret("key", Secret::new("hidden\r\nX-Evil: 1"));
    let reason = reason(test, &shop.instance).await;
    assert!(reason.contains("the request cannot be made") && reason.contains("header: x-key"), "{reason}");
    assert!(!reason.contains("hidden"), "{reason}");
}

#[tokio::test]
async fn every_expectation_fails_when_it_is_not_met() {
    let server = Server::answering(|_| answer("200 OK", &["x-a: one", "x-a: two"], r#"{"n":1,"null":null}"#)).await;
    let get = || Step::get("get", "/");
    for (step, expected) in [
        (get().expect_status([201, 204]), "expected status 201 or 204, got 200 OK"),
        (get().expect_body_contains("x"), "expected `x` in the body, got 200 OK: `{"),
        (get().expect_body_lacks("null"), "expected no `null` in the body, got 200 OK"),
        (get().expect_json("/n", 2), "expected 2 at /n, got 200 OK: `{"),
        (get().expect_json("/m", 1), "expected 1 at /m, got 200 OK: `{"),
        (get().expect_json_exists("/m"), "expected something at /m, got 200 OK: `{"),
        (get().expect_header("x-a", "three"), "expected `three` in header x-a, which is `one, two`, got 200 OK"),
        (get().expect_header("x-a", "on"), "expected `on` in header x-a, which is `one, two`, got 200 OK"),
        (get().expect_header("x-b", "1"), "expected `1` in header x-b, which is missing, got 200 OK"),
        (get().expect_header_contains("x-a", "thr"), "expected something with `thr` in header x-a"),
        (get().expect_header_exists("x-b"), "expected a header x-b, got 200 OK"),
        (get().capture("a", Capture::json("/m")), "a cannot be captured from /m: there is nothing at /m, got 200 OK"),
        (get().capture("a", Capture::json("/null")), "there is nothing at /null"),
        (get().capture("a", Capture::header("x-b")), "there is no header x-b"),
        (get().capture("a", Capture::header("x-a").matching("^th")), "there is no header x-a that matches ^th"),
        (get().capture("a", Capture::body("z+")), "the body does not match"),
        (get().capture("a", Capture::body("z*")), "what is found is empty"),
    ] {
        let reason = reason(one(step), &server.instance()).await;
        assert!(reason.contains(expected), "{reason}\n{expected}");
    }
    let all = get()
        .expect_status(200)
        .expect_body_contains("n")
        .expect_body_lacks("x")
        .expect_json("/n", 1.0)
        .expect_json("/null", Value::Null)
        .expect_json_exists("/null")
        .expect_header("x-a", "two")
        .expect_header_contains("x-a", "wo")
        .expect_header_exists("X-A")
        .capture("second", Capture::header("x-a").matching("^tw.$"))
        .capture("n", Capture::body(r#""n":(\d+)"#));
    assert_eq!(run(one(all), &server.instance()).await, Health::healthy());
}

#[tokio::test]
async fn a_slow_answer_fails_the_step_that_limits_it() {
    let server = Server::raw(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &answer("200 OK", &[], "")).await;
    })
    .await;
    let slow = reason(one(Step::get("get", "/").within(Duration::from_millis(50))), &server.instance()).await;
    assert!(slow.contains(" ms, and 50 ms are allowed, got 200 OK with an empty body"), "{slow}");
    let cut = reason(one(Step::get("get", "/").timeout(Duration::from_millis(50))), &server.instance()).await;
    assert!(cut.ends_with("no answer within 50 ms"), "{cut}");
    assert_eq!(
        run(one(Step::get("get", "/").within(Duration::from_secs(5))), &server.instance()).await,
        Health::healthy()
    );
}

#[tokio::test]
async fn redirects_refusals_half_and_broken_answers_fail_the_step() {
    for (bytes, expected) in [
        (answer("302 Found", &["location: /login"], ""), "got 302 Found to `/login` (redirects are not followed)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(), "broke off after 4 bytes"),
        (Vec::new(), "GET http://"),
    ] {
        let server = Server::sending(bytes).await;
        let reason = reason(one(Step::get("get", "/")), &server.instance()).await;
        assert!(reason.contains(expected), "{reason}");
    }
    let refusing = refusing();
    let reason = reason(one(Step::get("get", "/")), &running([Endpoint::http(&refusing.address)])).await;
    assert!(reason.ends_with("Connection refused (os error 111)"), "{reason}");
}

#[tokio::test]
async fn a_missing_endpoint_is_an_error() {
    let shop = shop().await;
    let test = one(Step::get("get", "/")).endpoint("admin").build().unwrap();
    let error = test.check(&target(), &shop.instance).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("smoke test one: "), "{error}");
}

#[tokio::test]
async fn every_endpoint_of_the_name_runs_the_scenario() {
    let good = shop().await;
    let ill = Server::answering(|_| answer("500 Internal Server Error", &[], "")).await;
    let endpoints = |first: &Instance, second: &Instance| running([first, second].map(|of| of.endpoints()[0].clone()));
    let step = || one(Step::get("form", "/form"));
    assert_eq!(run(step(), &endpoints(&good.instance, &good.instance)).await, Health::healthy());
    let reason = reason(step(), &endpoints(&good.instance, &ill.instance())).await;
    assert!(reason.contains(&ill.address), "{reason}");
}

#[tokio::test]
async fn a_url_with_a_prefix_and_common_headers_is_asked_below_it() {
    let server = Server::answering(|request| answer("200 OK", &[], request)).await;
    let step = Step::post("post", "/a?b={{slot}}")
        .text("user={{slot}}")
        .header("X-Kind", "own")
        .expect_body_contains("POST /prefix/a?b=green HTTP/1.1")
        .expect_body_contains("x-key: hidden")
        .expect_body_contains("x-kind: own")
        .expect_body_contains("content-type: text/plain; charset=utf-8")
        .expect_body_contains("host: shop.example.com")
        .expect_body_contains("\r\n\r\nuser=green")
        .expect_body_lacks("common");
    let test = one(step)
        .url(format!("http://{}/prefix/", server.address))
        .host_header("shop.example.com")
        .header("x-key", "{{key}}")
        .header("x-kind", "common")
        .secret("key", Secret::new("hidden"));
    assert_eq!(run(test, &Instance::Absent).await, Health::healthy());
}

#[test]
fn what_cannot_work_is_found_before_anything_is_sent() {
    let ok = || Step::get("get", "/");
    for (builder, expected) in [
        (SmokeTest::builder("x"), "without steps"),
        (one(Step::get("get", "/{{token}}")), "the variable token is not defined by then; defined are random, slot"),
        (one(ok().header("a", "{{b}}")), "the variable b is not defined"),
        (one(Step::post("p", "/").json(json!({"a": ["{{b}}"]}))), "the variable b is not defined"),
        (one(Step::post("p", "/").text("{{b}}")), "the variable b is not defined"),
        (one(ok().expect_body_contains("{{b}}")), "the variable b is not defined"),
        (one(ok().expect_body_lacks("{{b}}")), "the variable b is not defined"),
        (one(ok().expect_header("a", "{{b}}")), "the variable b is not defined"),
        (one(ok().expect_json("/a", json!({"x": "{{b}}"}))), "the variable b is not defined"),
        (one(ok().header("a", "{{b}}").capture("b", Capture::json("/b"))), "the variable b is not defined"),
        (one(ok()).header("a", "{{b}}"), "the variable b is not defined"),
        (one(ok().capture("slot", Capture::json("/b"))), "the variable slot is there already"),
        (one(ok()).variable("version", "1"), "the variable version is there already"),
        (one(ok()).variable("a", "1").secret("a", Secret::new("2")), "the variable a is defined twice"),
        (one(ok()).variable("a-b", "1"), "is not the name of a variable"),
        (one(ok().header("a", "{{b")), "{{ without }}"),
        (one(Step::get("get", "x")), "must begin with /"),
        (one(Step::get("get", "/a/../{{slot}}")), "segment"),
        (one(Step::new("get", "FETCH", "/")), "is not a method"),
        (one(ok().header("a b", "c")), "not the name of a header"),
        (one(ok().header("a", "c\r\nd: e")), "control characters"),
        (one(ok().header("host", "x")), "use host_header"),
        (one(ok().expect_status(42)), "42 is not an HTTP status"),
        (one(ok().expect_body_contains("")), "empty text"),
        (one(ok().expect_json("a.b", 1)), "write /a/b"),
        (one(ok().capture("a", Capture::default())), "one of json, header or regex"),
        (one(ok().capture("a", Capture::body("("))), "regular expression is not valid"),
        (one(ok().json(json!(1)).text("x")), "one body"),
        (one(ok().timeout(Duration::ZERO)), "timeout of zero"),
        (one(ok()).url("shop"), "cannot be asked"),
    ] {
        let error = builder.build().map(|test| test.to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}\n{expected}");
    }
    let error = one(ok()).step(Step::get("second", "/{{x}}")).build().unwrap_err();
    assert_eq!(error.context("step"), Some("2 `second`"));
}

const FILE: &str = r#"
name = "checkout"
timeout_ms = 5000
headers.accept = "application/json"
variables.user = "smoke"
variables.item = 7

[[steps]]
name = "log in"
method = "POST"
path = "/login"
json = { user = "{{user}}", password = "{{password}}" }
expect.json_exists = ["/token"]
capture.token = { json = "/token" }
capture.session = { header = "set-cookie", regex = "session=([^;]+)" }

[[steps]]
name = "place an order"
method = "POST"
path = "/orders"
headers.authorization = "Bearer {{token}}"
headers.cookie = "session={{session}}"
json = { item = "{{item}}" }
capture.order = { json = "/id", shown = true }

[steps.expect]
status = [201]
json."/order/item" = 7
headers_contain = { location = "/orders/" }
within_ms = 5000

[[steps]]
name = "form"
path = "/form"
expect = { status = 200, body_contains = ["csrf"], body_lacks = ["{{user}}"] }
capture.csrf.regex = "value=\"([^\"]+)\""
"#;

#[tokio::test]
async fn a_toml_file_runs_like_a_builder() {
    let shop = shop().await;
    let from_toml = SmokeTestBuilder::from_toml(FILE).unwrap().secret("password", Secret::new("pa\"ss"));
    assert_eq!(run(from_toml, &shop.instance).await, Health::healthy());

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("smoke.toml");
    std::fs::write(&path, FILE).unwrap();
    let test = SmokeTestBuilder::from_file(&path).unwrap().secret("password", Secret::new("pa\"ss"));
    assert_eq!(run(test, &shop.instance).await, Health::healthy());
    assert_eq!(shop.orders.lock().unwrap().len(), 2);
}

#[test]
fn a_file_that_is_wrong_is_refused_and_the_place_is_named() {
    let typo = FILE.replace("within_ms = 5000\n", "within = 5000\n");
    let error = SmokeTestBuilder::from_toml(&typo).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("unknown field `within`"), "{error}");
    assert_eq!(error.context("field"), Some("steps[1].expect.within"));
    assert_eq!(error.context("line"), Some("30"));

    let error = SmokeTestBuilder::from_toml("name = 'x'\nsteps = [\n").unwrap_err();
    assert_eq!(error.context("line"), Some("2"), "{error}");
    let error = SmokeTestBuilder::from_toml(&FILE.replace("status = [201]", "status = \"ok\"")).unwrap_err();
    assert!(error.to_string().contains("a status is a number such as 200"), "{error}");
    let error = SmokeTestBuilder::from_toml(&FILE.replace("item = \"{{item}}\"", "at = 2026-01-01")).unwrap_err();
    assert!(error.to_string().contains("a date is not a JSON value"), "{error}");
    assert_eq!(error.context("field"), Some("steps[1].json.at"));

    let error = SmokeTestBuilder::from_file("/no/such/smoke.toml").unwrap_err();
    assert_eq!((error.kind(), error.context("file")), (ErrorKind::NotFound, Some("/no/such/smoke.toml")));
    let yaml = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(&yaml, "name: x\nsteps: []\n").unwrap();
    let error = SmokeTestBuilder::from_file(yaml.path()).unwrap_err();
    assert_eq!((error.kind(), error.context("line")), (ErrorKind::Config, Some("1")), "{error}");
}

#[test]
fn a_secret_of_a_file_comes_from_the_environment_or_from_the_program() {
    let file = FILE
        .replace("variables.item = 7", "variables.item = 7\nsecrets.password = { env = \"BLUEGREEN_HTTP_NEVER_SET\" }");
    let error = SmokeTestBuilder::from_toml(&file).unwrap().build().unwrap_err();
    assert_eq!(error.context("secret"), Some("password"));
    assert!(error.to_string().contains("BLUEGREEN_HTTP_NEVER_SET"), "{error}");
    SmokeTestBuilder::from_toml(&file).unwrap().secret("password", Secret::new("x")).build().unwrap();
    // PATH stands for any variable that is set.
    SmokeTestBuilder::from_toml(&file.replace("BLUEGREEN_HTTP_NEVER_SET", "PATH")).unwrap().build().unwrap();
}
