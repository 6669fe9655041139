use std::borrow::Cow;
use std::collections::BTreeMap;

use bluegreen_core::Mask;
use serde_json::Value;

use crate::mask::hide;
use crate::pointer::as_text;

/// The variables of one run, and what of them must not be seen.
#[derive(Default)]
pub(crate) struct Variables {
    values: BTreeMap<String, Value>,
    mask: Mask,
}

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value as text; empty where there is none, which the build of a smoke test rules out.
    pub(crate) fn text(&self, name: &str) -> Cow<'_, str> {
        match self.get(name) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(as_text(other)),
            None => Cow::Borrowed(""),
        }
    }

    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Sets a variable that may be seen.
    pub(crate) fn show(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Sets a variable that is masked in every text from now on.
    pub(crate) fn hide(&mut self, name: &str, value: Value) {
        mask(&mut self.mask, &value);
        self.values.insert(name.to_owned(), value);
    }
}

fn mask(into: &mut Mask, value: &Value) {
    match value {
        Value::String(text) => hide(into, text),
        Value::Number(number) => hide(into, &number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| mask(into, item)),
        Value::Object(fields) => fields.values().for_each(|field| mask(into, field)),
        Value::Null | Value::Bool(_) => {}
    }
}
