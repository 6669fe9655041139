//! What both clouds have in common: a server, a token, a log of calls, faults.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::call::Call;
use super::fault::{After, Fault, Faults};
use super::spec::Spec;

/// The only token that the fakes accept.
pub const TOKEN: &str = "fake-t0ken-that-nobody-may-see";

/// Status and body.
pub type Reply = (u16, Value);

/// A cloud: what it does with a call.
pub trait Cloud: Send + Sync + 'static {
    /// What its requests and answers are validated against.
    fn spec() -> &'static Spec;

    /// The headers of each answer.
    fn headers() -> Vec<(&'static str, String)>;

    fn handle(self: &Arc<Self>, call: &Call) -> Reply;

    /// Its way of saying no.
    fn refusal(status: u16, code: &str, message: &str) -> Reply;
}

/// A running server; it ends when it is dropped. A request or an answer that is not as the cloud documents it fails the test
/// then.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Vec<String>>,
    carried_out: Mutex<Vec<String>>,
    faults: Mutex<Faults>,
    undocumented: Mutex<Vec<String>>,
    answers_freely: AtomicBool,
    scopes: Mutex<Option<Vec<String>>>,
}

impl FakeServer {
    pub async fn start<C: Cloud>(cloud: Arc<C>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let log = Arc::clone(&shared);
        let app = Router::new().fallback(move |request: Request| answer(Arc::clone(&cloud), Arc::clone(&log), request));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far, as `POST /v2/...`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// How many calls of this method had this in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        count(&self.shared.calls, method, path)
    }

    /// How many of them have had their effect. A call is in the log a moment before that.
    pub fn carried_out(&self, method: &str, path: &str) -> usize {
        count(&self.shared.carried_out, method, path)
    }

    pub fn forget_calls(&self) {
        self.shared.calls.lock().unwrap().clear();
    }

    /// From here on answers may be what no document says.
    pub fn answer_freely(&self) {
        self.shared.answers_freely.store(true, Ordering::Relaxed);
    }

    /// From here on the token has these scopes and no others.
    pub fn grant(&self, scopes: &[&str]) {
        *self.shared.scopes.lock().unwrap() = Some(scopes.iter().map(|scope| (*scope).to_owned()).collect());
    }

    /// The next calls of this method, with this in their path, go wrong.
    pub fn fail(&self, method: &'static str, path: &'static str, times: usize, fault: Fault) {
        self.shared.faults.lock().unwrap().plan(None, method, path, times, fault);
    }

    /// From here on nothing goes wrong.
    pub fn forget_faults(&self) {
        *self.shared.faults.lock().unwrap() = Faults::default();
    }

    /// The same, once other calls have come.
    pub fn fail_after(&self, after: After, method: &'static str, path: &'static str, times: usize, fault: Fault) {
        self.shared.faults.lock().unwrap().plan(Some(after), method, path, times, fault);
    }
}

fn count(calls: &Mutex<Vec<String>>, method: &str, path: &str) -> usize {
    calls.lock().unwrap().iter().filter(|call| call.starts_with(method) && call.contains(path)).count()
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
        let undocumented = self.shared.undocumented.lock().unwrap();
        assert!(std::thread::panicking() || undocumented.is_empty(), "not as documented:\n{}", undocumented.join("\n"));
    }
}

impl Shared {
    fn note(&self, undocumented: Vec<String>) {
        self.undocumented.lock().unwrap().extend(undocumented);
    }

    fn may<C: Cloud>(&self, call: &Call) -> bool {
        let scopes = self.scopes.lock().unwrap();
        scopes
            .as_ref()
            .is_none_or(|granted| C::spec().scopes(call).iter().all(|scope| granted.iter().any(|is| is == scope)))
    }

    /// The answer to a call, noted if it is not as documented.
    fn checked<C: Cloud>(&self, call: &Call, (status, body): Reply) -> Reply {
        if !self.answers_freely.load(Ordering::Relaxed) {
            self.note(C::spec().check_answer(call, status, &C::headers(), &body));
        }
        (status, body)
    }
}

async fn answer<C: Cloud>(cloud: Arc<C>, shared: Arc<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: body_of(&bytes),
    };
    let fault = {
        let mut calls = shared.calls.lock().unwrap();
        let fault = shared.faults.lock().unwrap().next(&call.method, &call.path, &calls);
        calls.push(format!("{} {}", call.method, call.path));
        fault
    };
    shared.note(C::spec().check_request(&call));
    let act = || {
        let reply = if !is_authorized(&parts.headers) {
            C::refusal(401, "unauthorized", "Unable to authenticate you")
        } else if shared.may::<C>(&call) {
            cloud.handle(&call)
        } else {
            C::refusal(403, "forbidden", "You are not authorized to perform this operation")
        };
        shared.carried_out.lock().unwrap().push(format!("{} {}", call.method, call.path));
        shared.checked::<C>(&call, reply)
    };
    match fault {
        None => json_response::<C>(act()),
        Some(Fault::Answer(status, headers, text)) => {
            if status >= 400
                && let Ok(body) = serde_json::from_str(&text)
            {
                shared.checked::<C>(&call, (status, body));
            }
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(text)).unwrap()
        }
        Some(Fault::AnswerAfter(status, text)) => {
            act();
            Response::builder().status(status).body(Body::from(text)).unwrap()
        }
        Some(Fault::Drop) => hang_up(),
        Some(Fault::DropAfter) => {
            act();
            hang_up()
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Late(time)) => {
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                cloud.handle(&call);
            });
            std::future::pending().await
        }
        Some(Fault::HangAfter) => {
            act();
            std::future::pending().await
        }
        Some(Fault::Slow(time)) => {
            let reply = act();
            tokio::time::sleep(time).await;
            json_response::<C>(reply)
        }
        Some(Fault::Endless) => {
            let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 64 << 10]));
            let endless = futures::stream::unfold(0_u32, move |sent| async move {
                // A client that reads on is told from one that stops at its limit by the test; this ends either way.
                if sent < 1000 { Some((chunk(), sent + 1)) } else { None }
            });
            Response::builder().status(StatusCode::OK).body(Body::from_stream(endless)).unwrap()
        }
    }
}

/// Ends the connection's task, and with it the connection.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection is dropped, as ordered"))
}

fn body_of(bytes: &Bytes) -> Value {
    if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).unwrap_or(Value::Null) }
}

fn is_authorized(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value.as_bytes() == format!("Bearer {TOKEN}").as_bytes())
}

fn json_response<C: Cloud>((status, body): Reply) -> Response {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in C::headers() {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}

/// How many calls are left of so many, and when all of them are back.
pub(super) fn rate_limit(calls: u32) -> Vec<(&'static str, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    vec![
        ("ratelimit-limit", calls.to_string()),
        ("ratelimit-remaining", (calls - 1).to_string()),
        ("ratelimit-reset", (now + 3600).to_string()),
    ]
}

/// Waits, where a fake cloud takes its time.
pub(super) async fn takes(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
