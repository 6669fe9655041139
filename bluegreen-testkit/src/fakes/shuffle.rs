//! Lists of an API have no order.

use serde_json::Value;

/// Has every list, at every level, begin elsewhere.
pub(super) fn rotate_lists(value: &mut Value, by: usize) {
    match value {
        Value::Array(items) => {
            let by = by.checked_rem(items.len()).unwrap_or(0);
            items.rotate_left(by);
            items.iter_mut().for_each(|item| rotate_lists(item, by));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| rotate_lists(field, by)),
        _ => {}
    }
}

/// The same value for lists that differ in order only.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), sorted(field))).collect(),
        other => other.clone(),
    }
}
