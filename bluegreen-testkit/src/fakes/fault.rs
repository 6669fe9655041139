use std::time::Duration;

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This is answered, and nothing is done.
    Answer(u16, &'static [(&'static str, &'static str)], String),
    /// It is done, and this is answered.
    AnswerAfter(u16, String),
    /// The connection ends without an answer, and nothing is done.
    Drop,
    /// It is done, and the connection ends without an answer.
    DropAfter,
    /// Nothing is done, and nothing is answered.
    Hang,
    /// Nothing is answered, and it is done so much later, whether anyone still waits or not.
    Late(Duration),
    /// It is done, and nothing is answered.
    HangAfter,
    /// It is done, and answered so much later.
    Slow(Duration),
    /// Nothing is done, and a body that has no end is answered.
    Endless,
}

impl Fault {
    /// A JSON answer with this text.
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self::Answer(status, &[("content-type", "application/json")], body.to_string())
    }

    /// A page such as gateways send.
    pub fn html(status: u16) -> Self {
        let page = format!("<html><head><title>{status}</title></head>\n<body>no \u{1b}[31mgateway</body></html>");
        Self::Answer(status, &[("content-type", "text/html")], page)
    }

    /// DigitalOcean's way of saying no.
    pub fn refusal(status: u16, id: &str, message: &str) -> Self {
        Self::json(status, serde_json::json!({ "id": id, "message": message, "request_id": "req-1" }))
    }

    /// Hetzner's way of saying no.
    pub fn code(status: u16, code: &str) -> Self {
        Self::json(status, serde_json::json!({ "error": { "code": code, "message": "not that one", "details": null } }))
    }
}

/// Faults that are still to come.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Planned>);

#[derive(Debug)]
struct Planned {
    method: &'static str,
    path: &'static str,
    left: usize,
    fault: Fault,
    after: Option<After>,
}

/// Only when so many calls of a method, with this in their path, have come before.
#[derive(Debug, Clone, Copy)]
pub struct After(pub usize, pub &'static str, pub &'static str);

impl After {
    fn is_met_by(self, calls: &[String]) -> bool {
        let Self(count, method, path) = self;
        calls.iter().filter(|call| call.starts_with(method) && call.contains(path)).count() >= count
    }
}

impl Faults {
    pub(super) fn plan(
        &mut self,
        after: Option<After>,
        method: &'static str,
        path: &'static str,
        times: usize,
        fault: Fault,
    ) {
        self.0.push(Planned { method, path, left: times, fault, after });
    }

    /// What goes wrong with this call, after these.
    pub(super) fn next(&mut self, method: &str, path: &str, calls: &[String]) -> Option<Fault> {
        let matching = |planned: &&mut Planned| {
            planned.left > 0
                && planned.method == method
                && path.contains(planned.path)
                && planned.after.is_none_or(|after| after.is_met_by(calls))
        };
        let planned = self.0.iter_mut().find(matching)?;
        planned.left -= 1;
        Some(planned.fault.clone())
    }
}
