use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::event::Event;
use crate::observer::Observer;

/// Writes each event as one line of JSON.
pub struct JsonLines<W>(Mutex<W>);

impl<W: Write + Send + 'static> JsonLines<W> {
    /// Writes to `writer`. A writer that fails is ignored: watching must not break a deploy.
    pub fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines")
    }
}

impl<W: Write + Send + 'static> Observer for JsonLines<W> {
    fn observe(&self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writer.write_all(&line).and_then(|()| writer.flush());
        }
    }
}
