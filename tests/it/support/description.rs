//! `docs/openapi.yaml`, and answers held against it as they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use cart_associations::request::Request;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::answer::Answer;

const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml"));

/// What stands for an operation where a request has none.
pub(crate) const OTHER: &str = "none";

/// The methods that a path of a document can have.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(TEXT).unwrap());

static ANSWERS: LazyLock<HashMap<(String, u64), Described>> = LazyLock::new(|| {
    let described = answers();
    described
        .into_iter()
        .map(|(operation, status, answer)| ((operation, status), Described::new(answer)))
        .collect()
});

/// The document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// What a reference leads to, or the value itself.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref") {
        Some(reference) => {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            DOCUMENT.pointer(pointer).expect(pointer)
        }
        None => value,
    }
}

/// The operations, named as the function names its routes.
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

/// Every answer that is described: the operation's name, the status, the answer.
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

/// The codes of an answer's errors.
pub(crate) fn codes(answer: &Value) -> BTreeSet<&str> {
    answer
        .get("x-error-codes")
        .map_or_else(BTreeSet::new, strings)
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

/// Holds an answer to what the document says of the request that the event
/// carries: status, headers, media type, body and codes.
pub(crate) fn check(event: &str, answer: &Answer) {
    let request = Request::parse(event).and_then(Request::route);
    let (operation, path) = match &request {
        Ok(routed) => (routed.route().key, routed.path()),
        Err(_) => (OTHER, "".into()),
    };
    let key = (operation.to_owned(), answer.status);
    let described = ANSWERS
        .get(&key)
        .unwrap_or_else(|| panic!("{key:?} is not described: {answer:?}"));
    described.check(answer, is_reference(&path));
}

/// An answer as it is described.
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
            (
                name.to_lowercase(),
                (required, validator(&header["schema"])),
            )
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

    /// `came_by_http` tells whether the links of the answer, which begin as the
    /// path of the request does, can be links at all.
    fn check(&self, answer: &Answer, came_by_http: bool) {
        for (name, value) in answer
            .headers
            .iter()
            .filter(|(name, _)| *name != "content-type")
        {
            let (_, schema) = self
                .headers
                .get(name)
                .unwrap_or_else(|| panic!("the header {name} is not described: {answer:?}"));
            // A header is text; a number in it is described as one.
            let text = json!(value);
            let number: Option<Value> = value.parse().ok().map(|number: u64| json!(number));
            let fits = [Some(text), number]
                .iter()
                .flatten()
                .any(|value| schema.is_valid(value));
            assert!(fits, "the header {name} is described otherwise: {answer:?}");
        }
        for (name, (required, _)) in &self.headers {
            assert!(
                !required || answer.header(name).is_some(),
                "no {name}: {answer:?}"
            );
        }
        let Some(media_type) = answer.header("content-type") else {
            assert!(self.bodies.is_empty(), "a body is described: {answer:?}");
            return;
        };
        let schema = self
            .bodies
            .get(media_type)
            .unwrap_or_else(|| panic!("{media_type} is not described: {answer:?}"));
        let document = answer.document();
        for error in schema.iter_errors(&document) {
            let place = error.instance_path();
            let is_link = place.as_str().starts_with("/links/");
            assert!(is_link && !came_by_http, "{error} at {place}: {answer:?}");
        }
        if answer.status >= 400 {
            for code in answer.codes() {
                assert!(
                    self.codes.contains(&*code),
                    "{code} is not described: {answer:?}"
                );
            }
        }
    }
}

/// Whether this can be the path of an HTTP request.
fn is_reference(path: &str) -> bool {
    static REFERENCE: LazyLock<Validator> =
        LazyLock::new(|| validator(&json!({ "format": "uri-reference" })));
    REFERENCE.is_valid(&json!(path))
}

/// A validator that takes no member which is not described: clients must ignore
/// one, but the function must not send it in silence.
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
