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

use super::RequestError;
use crate::fault::{ErrorCode, Fault};
use crate::ids::CustomerId;
use crate::json::{Object, parsed, text};

/// The largest body that is read, in bytes after base64 decoding.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The most customers in one request, which is the most actions in one
/// `TransactWriteItems`.
pub const MAX_MEMBERS: usize = 100;

/// Decodes base64, if the event says so, and checks the size.
pub(super) fn decode(body: Option<Cow<'_, str>>, base64: bool) -> Result<Vec<u8>, RequestError> {
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
        return Err(ErrorCode::BodyTooLarge.into());
    }
    if !base64 {
        return Ok(body.into_owned().into_bytes());
    }
    let bytes = STANDARD
        .decode(body.as_bytes())
        .map_err(|_| Fault::at(ErrorCode::InvalidEncoding, ""))?;
    if bytes.len() > MAX_BODY_BYTES {
        return Err(ErrorCode::BodyTooLarge.into());
    }
    Ok(bytes)
}

/// Reads the customers that a document names, at least one, without duplicates, in
/// their order.
pub(super) fn customers(body: &[u8]) -> Result<Vec<CustomerId>, RequestError> {
    let members = data(body)?;
    if members.is_empty() {
        return Err(at_data(ErrorCode::DataEmpty).into());
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
            Err(codes) => faults.extend(
                codes
                    .into_iter()
                    .map(|(code, name)| Fault::at(code, format!("/data/{index}{name}"))),
            ),
        }
    }
    if customers.len() > MAX_MEMBERS {
        faults.insert(0, at_data(ErrorCode::TooManyMembers));
    }
    if !faults.is_empty() {
        return Err(RequestError::Faults(faults));
    }
    Ok(customers)
}

/// Checks that a document has an empty `data`.
pub(super) fn check_empty(body: &[u8]) -> Result<(), RequestError> {
    if data(body)?.is_empty() {
        Ok(())
    } else {
        Err(at_data(ErrorCode::FullReplacementUnsupported).into())
    }
}

/// Reads the members of `data`.
fn data(body: &[u8]) -> Result<Vec<&RawValue>, RequestError> {
    let document = |code| Fault::at(code, "");
    if body.is_empty() {
        return Err(document(ErrorCode::BodyRequired).into());
    }
    let text = str::from_utf8(body).map_err(|_| document(ErrorCode::InvalidEncoding))?;
    let json: &RawValue =
        serde_json::from_str(text).map_err(|_| document(ErrorCode::InvalidJson))?;
    let object: Object<'_> =
        parsed(Some(json)).ok_or_else(|| document(ErrorCode::InvalidDocument))?;
    let data = object
        .get("data")
        .ok_or_else(|| document(ErrorCode::DataRequired))?;
    Ok(parsed(Some(data)).ok_or_else(|| at_data(ErrorCode::InvalidData))?)
}

fn at_data(code: ErrorCode) -> Fault {
    Fault::at(code, "/data")
}

/// A fault of a member, with its pointer relative to the member.
type MemberFault = (ErrorCode, &'static str);

/// Reads the customer that a member names.
fn read_member(member: &RawValue) -> Result<CustomerId, Vec<MemberFault>> {
    let Some(member) = parsed::<Object<'_>>(Some(member)) else {
        return Err(vec![(ErrorCode::InvalidMember, "")]);
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

fn check_type(member: &Object<'_>) -> Result<(), MemberFault> {
    let kind = member.get("type").ok_or((ErrorCode::TypeRequired, ""))?;
    match text(Some(kind)).as_deref() {
        Some("customer") => Ok(()),
        _ => Err((ErrorCode::InvalidType, "/type")),
    }
}

fn read_id(member: &Object<'_>) -> Result<CustomerId, MemberFault> {
    let id = member.get("id").ok_or((ErrorCode::IdRequired, ""))?;
    text(Some(id))
        .and_then(|id| id.parse().ok())
        .ok_or((ErrorCode::InvalidId, "/id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::ErrorCode::*;
    use crate::fault::Source;

    fn faults(error: RequestError) -> Vec<(String, ErrorCode)> {
        let RequestError::Faults(faults) = error else {
            panic!("{error:?}")
        };
        let pointer = |fault: Fault| match fault.source {
            Some(Source::Pointer(pointer)) => (pointer, fault.code),
            source => panic!("{source:?}"),
        };
        faults.into_iter().map(pointer).collect()
    }

    fn read(body: &str) -> Result<Vec<String>, Vec<(String, ErrorCode)>> {
        let customers = customers(body.as_bytes()).map_err(faults)?;
        Ok(customers.iter().map(|id| id.as_str().to_owned()).collect())
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
            ("", &[("", BodyRequired)][..]),
            (" ", &[("", InvalidJson)]),
            ("{", &[("", InvalidJson)]),
            (r#"{"data":[]} x"#, &[("", InvalidJson)]),
            (r#"{"data":["\ud800"]}"#, &[("/data/0", InvalidMember)]),
            ("null", &[("", InvalidDocument)]),
            ("[]", &[("", InvalidDocument)]),
            ("{}", &[("", DataRequired)]),
            (r#"{"data":null}"#, &[("/data", InvalidData)]),
            (
                r#"{"data":{"type":"customer","id":"a"}}"#,
                &[("/data", InvalidData)],
            ),
            (r#"{"data":[]}"#, &[("/data", DataEmpty)]),
            (
                r#"{"data":[1,null]}"#,
                &[("/data/0", InvalidMember), ("/data/1", InvalidMember)],
            ),
            (
                r#"{"data":[{}]}"#,
                &[("/data/0", TypeRequired), ("/data/0", IdRequired)],
            ),
            (
                r#"{"data":[{"type":"cart","id":"a"},{"type":"customer","id":"a"},{"type":1,"id":"a b"}]}"#,
                &[
                    ("/data/0/type", InvalidType),
                    ("/data/2/type", InvalidType),
                    ("/data/2/id", InvalidId),
                ],
            ),
            (
                r#"{"data":[{"type":"customer","id":7}]}"#,
                &[("/data/0/id", InvalidId)],
            ),
            (
                r#"{"data":[{"type":"customer","id":""}]}"#,
                &[("/data/0/id", InvalidId)],
            ),
        ] {
            let faults = faults.iter().map(|(p, k)| ((*p).to_owned(), *k)).collect();
            assert_eq!(read(body), Err(faults), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_refused() {
        let result = customers(b"{\"data\":\"\xff\"}");
        let encoding = Fault::at(InvalidEncoding, "");
        assert_eq!(result, Err(encoding.into()));
    }

    #[test]
    fn the_size_limit_is_for_the_decoded_body() {
        let fits = "x".repeat(MAX_BODY_BYTES);
        let over = "x".repeat(MAX_BODY_BYTES + 1);
        for (body, fits) in [(&fits, true), (&over, false)] {
            let expected = if fits {
                Ok(body.clone().into_bytes())
            } else {
                Err(BodyTooLarge.into())
            };
            assert_eq!(decode(Some(body.as_str().into()), false), expected);
            assert_eq!(decode(Some(STANDARD.encode(body).into()), true), expected);
        }
        let encoding = Fault::at(InvalidEncoding, "");
        assert_eq!(decode(Some("@".into()), true), Err(encoding.into()));
    }
}
