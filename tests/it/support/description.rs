//! Reads `docs/openapi.yaml` and compares answers with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use cart_associations::api::{self, RequestTarget};
use cart_associations::gateway;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::answer::Answer;

const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml"));

/// The operation of requests that match no route.
pub(crate) const OTHER: &str = "none";

/// The methods that OpenAPI allows in a path.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(TEXT).unwrap());

static ANSWERS: LazyLock<HashMap<(String, u64), Described>> = LazyLock::new(|| {
    let answers = answers().into_iter();
    answers
        .map(|(operation, status, answer)| ((operation, status), Described::new(answer)))
        .collect()
});

/// The document.
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
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let name = format!("{} {path}", method.to_uppercase());
                operations.insert(name, operation);
            }
        }
    }
    operations
}

/// Every described answer: the operation's name, the status, the description.
pub(crate) fn answers() -> Vec<(String, u64, &'static Value)> {
    let mut answers = Vec::new();
    let mut add = |name: &str, responses: &'static Value| {
        for (status, response) in object(responses) {
            answers.push((name.to_owned(), status.parse().unwrap(), resolved(response)));
        }
    };
    for (name, operation) in operations() {
        add(&name, &operation["responses"]);
    }
    add(OTHER, &DOCUMENT["x-other-answers"]);
    answers
}

/// The error codes of a described answer.
pub(crate) fn codes(answer: &Value) -> BTreeSet<&str> {
    let codes = answer.get("x-error-codes");
    codes.map_or_else(BTreeSet::new, strings)
}

/// The members of an array of strings.
pub(crate) fn strings(array: &Value) -> BTreeSet<&str> {
    let array = array.as_array().unwrap();
    array.iter().map(|text| text.as_str().unwrap()).collect()
}

/// The members of an object.
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
    let described = ANSWERS.get(&key);
    let described = described.unwrap_or_else(|| panic!("{key:?} is new: {answer:?}"));
    described.check(answer, is_reference(path));
}

/// The description of one answer.
struct Described {
    headers: BTreeMap<String, (bool, Validator)>,
    bodies: BTreeMap<String, Validator>,
    codes: BTreeSet<&'static str>,
}

impl Described {
    fn new(answer: &'static Value) -> Self {
        let none = Map::new();
        let members = |name| answer.get(name).map_or(&none, object);
        let header = |(name, header): (&String, &'static Value)| {
            let header = resolved(header);
            let required = header.get("required") == Some(&json!(true));
            let described = (required, validator(&header["schema"]));
            (name.to_lowercase(), described)
        };
        let headers = answer.get("headers").map(object).into_iter().flatten();
        Self {
            headers: headers.map(header).collect(),
            bodies: members("content")
                .iter()
                .map(|(media_type, content)| (media_type.clone(), validator(&content["schema"])))
                .collect(),
            codes: codes(answer),
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
