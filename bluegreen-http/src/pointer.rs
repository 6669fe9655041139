use std::fmt;

use bluegreen_core::{Error, Result};
use serde_json::Value;

/// A JSON pointer (RFC 6901): `/user/name`, `/items/0`, or the empty text for the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(String);

impl Pointer {
    pub(crate) fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let refused = |why: &str| Error::config(format!("{text:?} is not a JSON pointer: {why}"));
        if !text.is_empty() && !text.starts_with('/') {
            let advice = format!("write /{}", text.trim_start_matches(['$', '.']).replace('.', "/"));
            return Err(refused("it must begin with /, or be empty for the whole document").with_hint(advice));
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err(refused("a ~ in a name is written ~0, and a / is written ~1"));
        }
        Ok(Self(text))
    }

    pub(crate) fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("the whole body") } else { f.write_str(&self.0) }
    }
}

/// A value as text: a string without its quotes, anything else as JSON.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Equality in which 1 and 1.0 are the same number.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_path_is_refused_with_the_pointer_that_is_meant() {
        let error = Pointer::new("$.user.name").unwrap_err();
        assert!(error.to_string().ends_with("write /user/name"), "{error}");
        assert!(Pointer::new("/a~2").is_err());
        assert!(Pointer::new("/a~").is_err());
        assert_eq!(Pointer::new("/a~1b/0").unwrap().find(&json!({"a/b": [7]})), Some(&json!(7)));
        assert_eq!(Pointer::new("").unwrap().find(&json!(7)), Some(&json!(7)));
    }

    #[test]
    fn numbers_are_compared_by_value_and_large_ones_exactly() {
        assert!(same(&json!({"a": [1, "x"]}), &json!({"a": [1.0, "x"]})));
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(!same(&json!("1"), &json!(1)));
        assert!(!same(&json!({"a": 1}), &json!({"b": 1})));
    }
}
