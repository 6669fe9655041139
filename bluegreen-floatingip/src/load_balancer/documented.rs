//! What is judged of a provider's answer: the members that its documentation names.

use serde_json::{Map, Value};

/// The value without the members that the shape does not name. A list has the shape of its items; anything else in a shape
/// stands for the whole value.
pub(crate) fn documented(value: &Value, shape: &Value) -> Value {
    match (value, shape) {
        (Value::Object(fields), Value::Object(shape)) => {
            let known =
                shape.iter().filter_map(|(name, shape)| Some((name.clone(), documented(fields.get(name)?, shape))));
            Value::Object(known.collect::<Map<_, _>>())
        }
        (Value::Array(items), Value::Array(shape)) if !shape.is_empty() => {
            items.iter().map(|item| documented(item, &shape[0])).collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_that_the_shape_does_not_name_are_left_out_at_every_level() {
        let value = json!({ "a": 1, "new": 2, "list": [{ "b": 3, "new": 4 }, { "new": 5 }], "any": { "x": 6 } });
        let shape = json!({ "a": null, "list": [{ "b": null }], "any": null, "absent": null });
        assert_eq!(documented(&value, &shape), json!({ "a": 1, "list": [{ "b": 3 }, {}], "any": { "x": 6 } }));
    }
}
