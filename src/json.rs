//! Writes JSON responses, and reads JSON objects member by member: a value that nobody
//! asks for is skipped, whatever it is.
//!
//! Objects are not read as `serde_json::Value`: it loses duplicate members and rejects
//! JSON that must be ignored (RFC 8259 allows `1e999`), and with the feature
//! `raw_value` it takes an object with a certain private name for the JSON text in
//! its value, so that an object could pass for a string.

use std::borrow::Cow;
use std::fmt;

use lambda_http::Body;
use lambda_http::http::{Response, StatusCode};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Parses a field; `None` if it is absent or has another type.
pub(crate) fn parsed<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// Returns a field that is a string; `None` if it is absent or has another type.
pub(crate) fn text<'a>(field: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    parsed::<Text<'a>>(field).map(|Text(text)| text)
}

/// Returns a field that is an array of strings; `None` if it is anything else.
pub(crate) fn texts<'a>(field: Option<&'a RawValue>) -> Option<Vec<Cow<'a, str>>> {
    let texts = parsed::<Vec<Text<'a>>>(field)?;
    Some(texts.into_iter().map(|Text(text)| text).collect())
}

pub(crate) fn response(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let json = serde_json::to_string(document);
    let json = json.expect("a document has string keys and no fallible parts");
    let mut response = Response::new(Body::Text(json));
    *response.status_mut() = status;
    response
}

/// A JSON string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON object: all its members in their order, duplicates included.
#[derive(Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Returns the value of a member: of duplicates the last, as most parsers do.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name, *value))
    }

    pub(crate) fn has_duplicates(&self) -> bool {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}
