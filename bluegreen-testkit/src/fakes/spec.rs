//! The providers' own API documents (`specs`): what a request and an answer may be, and what a whole one looks like.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::call::Call;

pub struct Spec {
    document: Value,
    /// The same, as far as requests go: what can only be read must not be in them.
    requests: Value,
    /// Before each path.
    prefix: &'static str,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// An operation of the document, and the values in its path.
struct Operation<'a> {
    pointer: String,
    schema: &'a Value,
    path_values: Vec<(String, String)>,
}

impl Spec {
    pub fn digitalocean() -> &'static Self {
        static SPEC: OnceLock<Spec> = OnceLock::new();
        SPEC.get_or_init(|| Self::parse(include_str!("../../specs/digitalocean.json"), ""))
    }

    pub fn hetzner() -> &'static Self {
        static SPEC: OnceLock<Spec> = OnceLock::new();
        SPEC.get_or_init(|| Self::parse(include_str!("../../specs/hetzner.json"), "/v1"))
    }

    fn parse(text: &str, prefix: &'static str) -> Self {
        let mut document: Value = serde_json::from_str(text).unwrap();
        as_json_schema(&mut document);
        let mut requests = document.clone();
        forbid_read_only(&mut requests);
        Self { document, requests, prefix, validators: Mutex::default() }
    }

    /// What is wrong with a request.
    pub fn check_request(&self, call: &Call) -> Vec<String> {
        let Some(operation) = self.operation(&call.method, &call.path) else {
            return vec![format!("{} {} is not documented", call.method, call.path)];
        };
        let query = url_values(&call.query);
        let mut wrong = Vec::new();
        for (place, values) in [("path", &operation.path_values), ("query", &query)] {
            for (name, text) in values {
                match self.parameter(operation.schema, place, name) {
                    None => wrong.push(format!("{place} parameter {name} is not documented")),
                    Some(schema) => {
                        let validator = jsonschema::validator_for(schema).unwrap();
                        let value = typed(text, schema);
                        wrong.extend(validator.iter_errors(&value).map(|error| format!("{name}={text}: {error}")));
                    }
                }
            }
        }
        let body = format!("{}/requestBody/content/application~1json/schema", operation.pointer);
        match self.document.pointer(&body) {
            Some(_) => wrong.extend(self.invalid(&self.requests, &body, &call.body)),
            None if call.body.is_null() => {}
            None => wrong.push("a body is not documented".to_owned()),
        }
        wrong.into_iter().map(|what| format!("{} {}: {what}; body {}", call.method, call.path, call.body)).collect()
    }

    /// What is wrong with an answer.
    pub fn check_answer(&self, call: &Call, status: u16, headers: &[(&str, String)], body: &Value) -> Vec<String> {
        let Some(operation) = self.operation(&call.method, &call.path) else { return Vec::new() };
        let keys = [status.to_string(), format!("{}xx", status / 100), "default".to_owned()];
        let found = keys.iter().find(|key| operation.schema["responses"].get(key).is_some());
        let Some(key) = found.filter(|key| status >= 400 || **key == keys[0]) else {
            return vec![format!("{} {}: a {status} is not documented", call.method, call.path)];
        };
        let pointer = self.followed(&format!("{}/responses/{key}", operation.pointer));
        let response = self.document.pointer(&pointer).unwrap();
        let mut wrong = Vec::new();
        for name in response["headers"].as_object().into_iter().flat_map(Map::keys) {
            match headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)) {
                None => wrong.push(format!("the header {name} is missing")),
                Some((_, value)) if name.starts_with("ratelimit") && value.parse::<u64>().is_err() => {
                    wrong.push(format!("the header {name} is {value}"));
                }
                Some(_) => {}
            }
        }
        let schema = format!("{pointer}/content/application~1json/schema");
        match self.document.pointer(&schema) {
            Some(_) => wrong.extend(self.invalid(&self.document, &schema, body)),
            None if body.is_null() => {}
            None => wrong.push("a body is not documented".to_owned()),
        }
        wrong.into_iter().map(|what| format!("{} {} {status}: {what}; answer {body}", call.method, call.path)).collect()
    }

    /// The scopes that a token needs for a call.
    pub fn scopes(&self, call: &Call) -> Vec<&str> {
        let Some(operation) = self.operation(&call.method, &call.path) else { return Vec::new() };
        let schemes = operation.schema["security"].as_array().into_iter().flatten();
        let scopes = schemes.filter_map(Value::as_object).flat_map(Map::values).filter_map(Value::as_array).flatten();
        scopes.filter_map(Value::as_str).collect()
    }

    /// A whole answer with every member that the document names, each with its example.
    pub fn answer(&self, path: &str) -> Value {
        let operation = self.operation("GET", path).unwrap();
        let response = self.followed(&format!("{}/responses/200", operation.pointer));
        self.sample(self.document.pointer(&format!("{response}/content/application~1json/schema")).unwrap())
    }

    /// The schema of this name.
    pub fn component(&self, name: &str) -> &Value {
        &self.document["components"]["schemas"][name]
    }

    /// The members that a schema gives a default, at every level.
    pub fn defaults(&self, schema: &Value) -> Map<String, Value> {
        let schema = self.resolved(schema);
        let mut found = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let property = self.resolved(property);
            match property.get("default") {
                Some(default) => drop(found.insert(name.clone(), default.clone())),
                None => {
                    let inner = self.defaults(property);
                    if !inner.is_empty() {
                        found.insert(name.clone(), Value::Object(inner));
                    }
                }
            }
        }
        found
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let path = path.strip_prefix(self.prefix)?;
        self.document["paths"].as_object()?.iter().find_map(|(template, methods)| {
            let path_values = matched(template, path)?;
            let method = method.to_lowercase();
            let schema = methods.get(&method)?;
            let pointer = format!("/paths/{}/{method}", template.replace('~', "~0").replace('/', "~1"));
            Some(Operation { pointer, schema, path_values })
        })
    }

    fn parameter<'a>(&'a self, operation: &'a Value, place: &str, name: &str) -> Option<&'a Value> {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut parameters = parameters.map(|parameter| self.resolved(parameter));
        parameters.find(|parameter| parameter["in"] == place && parameter["name"] == name).map(|found| &found["schema"])
    }

    fn invalid(&self, document: &Value, pointer: &str, value: &Value) -> Vec<String> {
        let key = format!("{} {pointer}", std::ptr::eq(document, &self.requests));
        let validator = {
            let mut validators = self.validators.lock().unwrap();
            let make = || {
                let mut schema = document.clone();
                schema["$ref"] = json!(format!("#{}", pointer.replace('{', "%7B").replace('}', "%7D")));
                Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
            };
            Arc::clone(validators.entry(key).or_insert_with(make))
        };
        validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect()
    }

    /// The pointer that a reference at this one leads to, or this one.
    fn followed(&self, pointer: &str) -> String {
        let reference = self.document.pointer(pointer).and_then(|value| value["$ref"].as_str());
        reference.map_or_else(|| pointer.to_owned(), |reference| reference.trim_start_matches('#').to_owned())
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str();
        reference.map_or(value, |to| self.document.pointer(to.trim_start_matches('#')).unwrap())
    }

    fn sample(&self, schema: &Value) -> Value {
        let schema = self.resolved(schema);
        if let Some(parts) = schema["allOf"].as_array() {
            let mut whole = Map::new();
            for part in parts.iter().map(|part| self.sample(part)) {
                whole.extend(part.as_object().cloned().unwrap_or_default());
            }
            return Value::Object(whole);
        }
        if let Some(properties) = schema["properties"].as_object() {
            return properties.iter().map(|(name, property)| (name.clone(), self.sample(property))).collect();
        }
        let given = ["example", "default"].into_iter().find_map(|name| schema.get(name));
        let first = ["oneOf", "anyOf"].into_iter().find_map(|name| schema[name].get(0));
        match (given, first, schema["enum"].get(0), schema["type"].as_str()) {
            (Some(value), ..) | (_, _, Some(value), _) => value.clone(),
            (_, Some(first), ..) => self.sample(first),
            (_, _, _, Some("array")) => Value::Array(vec![self.sample(&schema["items"])]),
            (_, _, _, Some("object")) => json!({}),
            (_, _, _, Some("string")) => json!("text"),
            (_, _, _, Some("integer" | "number")) => json!(1),
            (_, _, _, Some("boolean")) => json!(false),
            _ => Value::Null,
        }
    }
}

/// The values of a path, if it is one of this template.
fn matched(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let mut values = Vec::new();
    for (expected, given) in template.iter().zip(&path) {
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => values.push((name.to_owned(), (*given).to_owned())),
            None if expected == given => {}
            None => return None,
        }
    }
    (template.len() == path.len()).then_some(values)
}

fn url_values(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// A parameter's text as what its schema says that it is.
fn typed(text: &str, schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer") => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
        Some("array") => json!([text]),
        _ => json!(text),
    }
}

/// OpenAPI 3.0 has a word of its own for a value that may be null.
fn as_json_schema(value: &mut Value) {
    if let Some(fields) = value.as_object_mut()
        && fields.get("nullable") == Some(&json!(true))
    {
        let kind = fields["type"].clone();
        fields.insert("type".to_owned(), json!([kind, "null"]));
    }
    each_child(value, as_json_schema);
}

fn forbid_read_only(value: &mut Value) {
    if value["readOnly"] == true {
        *value = json!(false);
    }
    each_child(value, forbid_read_only);
}

fn each_child(value: &mut Value, work: fn(&mut Value)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(work),
        Value::Array(items) => items.iter_mut().for_each(work),
        _ => {}
    }
}
