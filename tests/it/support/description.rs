//! Reads `docs/openapi.yaml` and compares answers with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use cart_associations::api::{self, RequestTarget};
use cart_associations::error::ErrorCode;
use cart_associations::gateway;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::answer::Answer;

const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml"));

/// The operation of requests that match no route.
pub(crate) const OTHER: &str = "none";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(TEXT).unwrap());

static SCHEMAS: LazyLock<HashMap<(String, u64), Schemas>> = LazyLock::new(|| {
    let answers = answers().into_iter();
    answers
        .map(|answer| {
            let schemas = Schemas::new(&answer);
            ((answer.operation, answer.status), schemas)
        })
        .collect()
});

/// A described answer of an operation.
pub(crate) struct Described {
    pub(crate) operation: String,
    pub(crate) status: u64,
    pub(crate) response: &'static Value,
    pub(crate) codes: BTreeSet<&'static str>,
}

pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// The target of a reference, or the value itself if it is no reference.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref") {
        Some(reference) => {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            DOCUMENT.pointer(pointer).expect(pointer)
        }
        None => value,
    }
}

/// The operations by name, such as `GET /v2/carts`, as in the table of routes.
pub(crate) fn operations() -> BTreeMap<String, &'static Value> {
    let mut operations = BTreeMap::new();
    for (path, item) in object(&DOCUMENT["paths"]) {
        for (method, operation) in object(item) {
            if method != "parameters" {
                let name = format!("{} {path}", method.to_uppercase());
                operations.insert(name, operation);
            }
        }
    }
    operations
}

/// Every described answer.
pub(crate) fn answers() -> Vec<Described> {
    let mut answers = Vec::new();
    let mut add = |operation: &str, responses: &'static Value, codes: &BTreeSet<&'static str>| {
        for code in codes {
            let response = responses.get(status_of(code).to_string());
            assert!(response.is_some(), "{code} of {operation}");
        }
        for (status, response) in object(responses) {
            let (status, response) = (status.parse().unwrap(), resolved(response));
            let mut all = error_codes(response);
            all.extend(codes.iter().filter(|code| status_of(code) == status));
            let fit = all.iter().all(|code| status_of(code) == status);
            assert!(fit, "{operation} {status}: {all:?}");
            answers.push(Described {
                operation: operation.to_owned(),
                status,
                response,
                codes: all,
            });
        }
    };
    for (name, operation) in operations() {
        add(&name, &operation["responses"], &error_codes(operation));
    }
    add(OTHER, &DOCUMENT["x-other-answers"], &BTreeSet::new());
    answers
}

/// The error codes that an operation or a response names.
fn error_codes(described: &'static Value) -> BTreeSet<&'static str> {
    let codes = described.get("x-error-codes");
    codes.map_or_else(BTreeSet::new, strings)
}

fn status_of(code: &str) -> u64 {
    let mut codes = ErrorCode::ALL.iter();
    let code = codes.find(|known| known.as_str() == code).expect(code);
    code.status().as_u16().into()
}

pub(crate) fn strings(array: &Value) -> BTreeSet<&str> {
    let array = array.as_array().unwrap();
    array.iter().map(|text| text.as_str().unwrap()).collect()
}

pub(crate) fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Compares an answer with the description of the operation that the event asks
/// for: status, headers, media type, body and error codes.
pub(crate) fn check(event: &str, answer: &Answer) {
    let (request, _) = gateway::read(event);
    let (operation, path) = request.as_ref().map_or((OTHER.to_owned(), ""), |request| {
        let target: &RequestTarget = request.extensions().get().unwrap();
        match api::find(request.method(), request.uri().path()) {
            Ok(matched) => (matched.key, &target.path),
            Err(_) => (OTHER.to_owned(), ""),
        }
    });
    let key = (operation, answer.status);
    let schemas = SCHEMAS.get(&key);
    let schemas = schemas.unwrap_or_else(|| panic!("{key:?} is new: {answer:?}"));
    schemas.check(answer, is_reference(path));
}

/// What an answer is compared with.
struct Schemas {
    headers: BTreeMap<String, (bool, Validator)>,
    bodies: BTreeMap<String, Validator>,
    codes: BTreeSet<&'static str>,
}

impl Schemas {
    fn new(described: &Described) -> Self {
        let members = |name| {
            described
                .response
                .get(name)
                .map(object)
                .into_iter()
                .flatten()
        };
        let header = |(name, header): (&String, &'static Value)| {
            let header = resolved(header);
            let required = header.get("required") == Some(&json!(true));
            let described = (required, validator(&header["schema"]));
            (name.to_lowercase(), described)
        };
        Self {
            headers: members("headers").map(header).collect(),
            bodies: members("content")
                .map(|(media_type, content)| (media_type.clone(), validator(&content["schema"])))
                .collect(),
            codes: described.codes.clone(),
        }
    }

    /// `has_valid_path` says whether the path of the request is a valid URI
    /// reference. The answer's links begin with it, so otherwise they are not
    /// checked.
    fn check(&self, answer: &Answer, has_valid_path: bool) {
        let headers = answer.headers.iter();
        for (name, value) in headers.filter(|(name, _)| *name != "content-type") {
            let described = self.headers.get(name);
            let (_, schema) = described.unwrap_or_else(|| panic!("{name} is new: {answer:?}"));
            // Headers are text, but the schema of a numeric header is a number.
            let text = json!(value);
            let number: Option<Value> = value.parse().ok().map(|number: u64| json!(number));
            let mut values = [Some(text), number].into_iter().flatten();
            let fits = values.any(|value| schema.is_valid(&value));
            assert!(fits, "{name} differs from its schema: {answer:?}");
        }
        for (name, (required, _)) in &self.headers {
            let fits = !required || answer.header(name).is_some();
            assert!(fits, "no {name}: {answer:?}");
        }
        let Some(media_type) = answer.header("content-type") else {
            assert!(self.bodies.is_empty(), "a body is described: {answer:?}");
            return;
        };
        let schema = self.bodies.get(media_type);
        let schema = schema.unwrap_or_else(|| panic!("{media_type} is new: {answer:?}"));
        let document = answer.document();
        for error in schema.iter_errors(&document) {
            let place = error.instance_path();
            let is_link = place.as_str().starts_with("/links/");
            assert!(is_link && !has_valid_path, "{error} at {place}: {answer:?}");
        }
        if answer.status >= 400 {
            for code in answer.codes() {
                assert!(self.codes.contains(&*code), "{code} is new: {answer:?}");
            }
        }
    }
}

/// Returns whether a path is a valid URI reference.
fn is_reference(path: &str) -> bool {
    static REFERENCE: LazyLock<Validator> =
        LazyLock::new(|| validator(&json!({ "format": "uri-reference" })));
    REFERENCE.is_valid(&json!(path))
}

/// A validator that refuses undescribed members. Clients must ignore those, but the
/// function must not send them.
fn validator(schema: &Value) -> Validator {
    static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
        let mut schemas = DOCUMENT["components"]["schemas"].clone();
        close(&mut schemas);
        json!({ "schemas": schemas })
    });
    let mut schema = schema.clone();
    close(&mut schema);
    let whole = json!({ "allOf": [schema], "components": *COMPONENTS });
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .build(&whole)
        .unwrap()
}

/// Forbids additional members in each object schema.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
