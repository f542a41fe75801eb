//! The body of a write: JSON:API resource linkage,
//! `{"data":[{"type":"customer","id":"…"}]}` for POST and DELETE, `{"data":[]}` for
//! PATCH.
//!
//! All faults of a document are found, so that a caller can fix them at once.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::ids::CustomerId;
use crate::json::{Object, parsed, text};

/// The largest body that is read, in bytes after base64 decoding.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The most customers in one request, which is the most actions in one
/// `TransactWriteItems`.
pub const MAX_MEMBERS: usize = 100;

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFault {
    /// A JSON Pointer (RFC 6901) to the faulty value, or to the object that lacks a
    /// member, because JSON:API 1.1 requires a value that exists.
    pub pointer: String,
    /// What is wrong with that value.
    pub kind: BodyFaultKind,
}

/// What can be wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFaultKind {
    /// There is no body.
    BodyMissing,
    /// The event says base64, and the body is not.
    NotBase64,
    /// Not UTF-8, which RFC 8259 section 8.1 requires.
    NotUtf8,
    /// Not JSON.
    NotJson,
    /// JSON, but not an object.
    DocumentNotObject,
    /// The document has no `data`.
    DataMissing,
    /// `data` is not an array.
    DataNotArray,
    /// `data` is an empty array.
    DataEmpty,
    /// `data` is not empty, where only an empty array is supported.
    DataNotEmpty,
    /// `data` names more than [`MAX_MEMBERS`] customers.
    TooManyMembers,
    /// A member of `data` is not an object.
    MemberNotObject,
    /// A member has no `type`.
    TypeMissing,
    /// A member's `type` is not `customer`.
    TypeNotCustomer,
    /// A member has no `id`.
    IdMissing,
    /// A member's `id` is not a [`CustomerId`].
    IdInvalid,
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// At least one fault.
    Faults(Vec<BodyFault>),
}

impl From<BodyFaultKind> for BodyError {
    fn from(kind: BodyFaultKind) -> Self {
        Self::Faults(vec![fault("", kind)])
    }
}

/// Decodes base64, if the event says so, and checks the size.
pub(super) fn decode(body: Option<Cow<'_, str>>, base64: bool) -> Result<Vec<u8>, BodyError> {
    let Some(body) = body else {
        return Ok(Vec::new());
    };
    // Four characters of base64 make three bytes: a body that must be too large is
    // refused before it is decoded.
    let max_length = if base64 {
        MAX_BODY_BYTES.div_ceil(3) * 4
    } else {
        MAX_BODY_BYTES
    };
    if body.len() > max_length {
        return Err(BodyError::TooLarge);
    }
    if !base64 {
        return Ok(body.into_owned().into_bytes());
    }
    let bytes = STANDARD
        .decode(body.as_bytes())
        .map_err(|_| BodyFaultKind::NotBase64)?;
    if bytes.len() > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    Ok(bytes)
}

/// Reads the customers that a document names, at least one, without duplicates, in
/// their order.
pub(super) fn customers(body: &[u8]) -> Result<Vec<CustomerId>, BodyError> {
    let members = data(body)?;
    if members.is_empty() {
        return Err(at_data(BodyFaultKind::DataEmpty));
    }

    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    let mut customers = Vec::new();
    for (index, member) in members.into_iter().enumerate() {
        match read_member(member) {
            Ok(customer) => {
                if seen.insert(customer.clone()) {
                    customers.push(customer);
                }
            }
            Err(member_faults) => faults.extend(
                member_faults
                    .into_iter()
                    .map(|(name, kind)| fault(&format!("/data/{index}{name}"), kind)),
            ),
        }
    }
    if customers.len() > MAX_MEMBERS {
        faults.insert(0, fault("/data", BodyFaultKind::TooManyMembers));
    }
    if !faults.is_empty() {
        return Err(BodyError::Faults(faults));
    }
    Ok(customers)
}

/// Checks that a document has an empty `data`.
pub(super) fn check_empty(body: &[u8]) -> Result<(), BodyError> {
    if data(body)?.is_empty() {
        Ok(())
    } else {
        Err(at_data(BodyFaultKind::DataNotEmpty))
    }
}

/// Reads the members of `data`.
fn data(body: &[u8]) -> Result<Vec<&RawValue>, BodyError> {
    if body.is_empty() {
        return Err(BodyFaultKind::BodyMissing.into());
    }
    let text = std::str::from_utf8(body).map_err(|_| BodyFaultKind::NotUtf8)?;
    let document: &RawValue = serde_json::from_str(text).map_err(|_| BodyFaultKind::NotJson)?;
    let document: Object<'_> = parsed(Some(document)).ok_or(BodyFaultKind::DocumentNotObject)?;
    let data = document.get("data").ok_or(BodyFaultKind::DataMissing)?;
    parsed(Some(data)).ok_or_else(|| at_data(BodyFaultKind::DataNotArray))
}

fn at_data(kind: BodyFaultKind) -> BodyError {
    BodyError::Faults(vec![fault("/data", kind)])
}

/// Reads the customer that a member names. Faults have their pointer relative to
/// the member.
fn read_member(member: &RawValue) -> Result<CustomerId, Vec<(&'static str, BodyFaultKind)>> {
    let Some(member) = parsed::<Object<'_>>(Some(member)) else {
        return Err(vec![("", BodyFaultKind::MemberNotObject)]);
    };
    match (check_type(&member), read_id(&member)) {
        (Ok(()), Ok(customer)) => Ok(customer),
        (type_result, id_result) => Err(type_result
            .err()
            .into_iter()
            .chain(id_result.err())
            .collect()),
    }
}

fn check_type(member: &Object<'_>) -> Result<(), (&'static str, BodyFaultKind)> {
    let kind = member.get("type").ok_or(("", BodyFaultKind::TypeMissing))?;
    match text(Some(kind)).as_deref() {
        Some("customer") => Ok(()),
        _ => Err(("/type", BodyFaultKind::TypeNotCustomer)),
    }
}

fn read_id(member: &Object<'_>) -> Result<CustomerId, (&'static str, BodyFaultKind)> {
    let id = member.get("id").ok_or(("", BodyFaultKind::IdMissing))?;
    text(Some(id))
        .and_then(|id| id.parse().ok())
        .ok_or(("/id", BodyFaultKind::IdInvalid))
}

fn fault(pointer: &str, kind: BodyFaultKind) -> BodyFault {
    BodyFault {
        pointer: pointer.to_owned(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::BodyFaultKind::*;
    use super::*;

    fn read(body: &str) -> Result<Vec<String>, Vec<(String, BodyFaultKind)>> {
        match customers(body.as_bytes()) {
            Ok(customers) => Ok(customers.iter().map(|id| id.as_str().to_owned()).collect()),
            Err(BodyError::Faults(faults)) => {
                Err(faults.into_iter().map(|f| (f.pointer, f.kind)).collect())
            }
            Err(BodyError::TooLarge) => unreachable!("the size is checked before"),
        }
    }

    fn linkage(ids: impl Iterator<Item = usize>) -> String {
        let members: Vec<String> = ids
            .map(|id| format!(r#"{{"type":"customer","id":"c{id}"}}"#))
            .collect();
        format!(r#"{{"data":[{}]}}"#, members.join(","))
    }

    #[test]
    fn a_repeated_member_counts_once_and_the_order_stays() {
        let body = r#"{"data":[{"type":"customer","id":"b"},{"type":"customer","id":"a"},
                               {"id":"b","type":"customer","meta":{"x":[1]}}],"jsonapi":{}}"#;
        assert_eq!(read(body), Ok(vec!["b".into(), "a".into()]));
    }

    /// Each is JSON (RFC 8259) that many parsers refuse.
    #[test]
    fn ignored_members_may_be_any_json() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for odd in ["1e999", r#""\ud800""#, &deep] {
            let body =
                format!(r#"{{"meta":{odd},"data":[{{"meta":{odd},"type":"customer","id":"a"}}]}}"#);
            assert_eq!(read(&body), Ok(vec!["a".into()]), "{odd}");
        }
    }

    #[test]
    fn a_hundred_customers_are_read_even_if_they_are_repeated() {
        assert_eq!(read(&linkage(0..100)).map(|ids| ids.len()), Ok(100));
        let twice = linkage((0..100).chain(0..100));
        assert_eq!(read(&twice).map(|ids| ids.len()), Ok(100));
        let faults = vec![("/data".to_owned(), TooManyMembers)];
        assert_eq!(read(&linkage(0..101)), Err(faults));
    }

    #[test]
    fn each_fault_of_a_document_has_its_pointer() {
        for (body, faults) in [
            ("", &[("", BodyMissing)][..]),
            (" ", &[("", NotJson)]),
            ("{", &[("", NotJson)]),
            (r#"{"data":[]} x"#, &[("", NotJson)]),
            (r#"{"data":["\ud800"]}"#, &[("/data/0", MemberNotObject)]),
            ("null", &[("", DocumentNotObject)]),
            ("[]", &[("", DocumentNotObject)]),
            ("{}", &[("", DataMissing)]),
            (r#"{"data":null}"#, &[("/data", DataNotArray)]),
            (
                r#"{"data":{"type":"customer","id":"a"}}"#,
                &[("/data", DataNotArray)],
            ),
            (r#"{"data":[]}"#, &[("/data", DataEmpty)]),
            (
                r#"{"data":[1,null]}"#,
                &[("/data/0", MemberNotObject), ("/data/1", MemberNotObject)],
            ),
            (
                r#"{"data":[{}]}"#,
                &[("/data/0", TypeMissing), ("/data/0", IdMissing)],
            ),
            (
                r#"{"data":[{"type":"cart","id":"a"},{"type":"customer","id":"a"},{"type":1,"id":"a b"}]}"#,
                &[
                    ("/data/0/type", TypeNotCustomer),
                    ("/data/2/type", TypeNotCustomer),
                    ("/data/2/id", IdInvalid),
                ],
            ),
            (
                r#"{"data":[{"type":"customer","id":7}]}"#,
                &[("/data/0/id", IdInvalid)],
            ),
            (
                r#"{"data":[{"type":"customer","id":""}]}"#,
                &[("/data/0/id", IdInvalid)],
            ),
        ] {
            let faults = faults.iter().map(|(p, k)| ((*p).to_owned(), *k)).collect();
            assert_eq!(read(body), Err(faults), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_refused() {
        assert_eq!(customers(b"{\"data\":\"\xff\"}"), Err(NotUtf8.into()));
    }

    #[test]
    fn the_size_limit_is_for_the_decoded_body() {
        let fits = "x".repeat(MAX_BODY_BYTES);
        let over = "x".repeat(MAX_BODY_BYTES + 1);
        for (body, result) in [
            (&fits, Ok(MAX_BODY_BYTES)),
            (&over, Err(BodyError::TooLarge)),
        ] {
            let plain = decode(Some(body.as_str().into()), false);
            assert_eq!(plain.map(|bytes| bytes.len()), result);
            let encoded = STANDARD.encode(body);
            let decoded = decode(Some(encoded.into()), true);
            assert_eq!(decoded.map(|bytes| bytes.len()), result);
        }
        assert_eq!(decode(Some("@".into()), true), Err(NotBase64.into()));
    }
}
