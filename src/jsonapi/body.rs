//! The body of a write: JSON:API resource linkage, `{"data":[{"type":"…","id":"…"}]}`
//! for POST and DELETE, `{"data":[]}` for PATCH.
//!
//! All errors of a document are found, so that a caller can fix them at once.

use std::collections::HashSet;
use std::hash::Hash;

use serde_json::value::RawValue;

use crate::error::{Error, ErrorCode, RequestError};
use crate::json::{Object, parsed, text};

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The most members in one request, which is the most actions in one
/// `TransactWriteItems`.
pub const MAX_MEMBERS: usize = 100;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the members that a document names, at least one, without duplicates, in
/// their order. All have the type `member_type`; `read_id` returns `None` for an id
/// that is not valid.
pub(crate) fn members<M: Clone + Eq + Hash>(
    body: &[u8],
    member_type: &str,
    read_id: impl Fn(&str) -> Option<M>,
) -> Result<Vec<M>, Error> {
    let data = data(body)?;
    if data.is_empty() {
        return Err(at_data(ErrorCode::DataEmpty).into());
    }

    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    for (index, member) in data.into_iter().enumerate() {
        match read_member(member, member_type, &read_id) {
            Ok(member) => {
                if seen.insert(member.clone()) {
                    members.push(member);
                }
            }
            Err(codes) => errors.extend(
                codes
                    .into_iter()
                    .map(|(code, name)| RequestError::at(code, format!("/data/{index}{name}"))),
            ),
        }
    }
    if members.len() > MAX_MEMBERS {
        errors.insert(0, at_data(ErrorCode::TooManyMembers));
    }
    if !errors.is_empty() {
        return Err(Error::Request(errors));
    }
    Ok(members)
}

/// Checks that a document has an empty `data`.
pub(crate) fn check_empty(body: &[u8]) -> Result<(), Error> {
    if !data(body)?.is_empty() {
        return Err(at_data(ErrorCode::FullReplacementUnsupported).into());
    }
    Ok(())
}

/// Reads the members of `data`.
fn data(body: &[u8]) -> Result<Vec<&RawValue>, Error> {
    let document = |code| RequestError::at(code, "");
    if body.len() > MAX_BODY_BYTES {
        return Err(ErrorCode::BodyTooLarge.into());
    }
    // "Implementations MAY ignore the presence of a byte order mark" (RFC 8259
    // section 8.1).
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
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

fn at_data(code: ErrorCode) -> RequestError {
    RequestError::at(code, "/data")
}

/// An error of a member, with its pointer relative to the member.
type MemberError = (ErrorCode, &'static str);

fn read_member<M>(
    member: &RawValue,
    member_type: &str,
    read_id: impl Fn(&str) -> Option<M>,
) -> Result<M, Vec<MemberError>> {
    let Some(member) = parsed::<Object<'_>>(Some(member)) else {
        return Err(vec![(ErrorCode::InvalidMember, "")]);
    };
    let type_error = match member.get("type") {
        None => Some((ErrorCode::TypeRequired, "")),
        found if text(found).is_some_and(|found| found == member_type) => None,
        Some(_) => Some((ErrorCode::InvalidType, "/type")),
    };
    let id = match member.get("id") {
        None => Err((ErrorCode::IdRequired, "")),
        id => text(id)
            .and_then(|id| read_id(&id))
            .ok_or((ErrorCode::InvalidId, "/id")),
    };
    match (type_error, id) {
        (None, Ok(member)) => Ok(member),
        (type_error, id) => Err(type_error.into_iter().chain(id.err()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode::*;
    use crate::error::Source;

    fn errors(error: Error) -> Vec<(String, ErrorCode)> {
        let Error::Request(errors) = error else {
            panic!("{error:?}")
        };
        let pointer = |error: RequestError| match error.source {
            Some(Source::Pointer(pointer)) => (pointer, error.code),
            None => (String::new(), error.code),
            source => panic!("{source:?}"),
        };
        errors.into_iter().map(pointer).collect()
    }

    fn read(body: impl AsRef<[u8]>) -> Result<Vec<String>, Vec<(String, ErrorCode)>> {
        let id = |id: &str| (!id.is_empty() && !id.contains(' ')).then(|| id.to_owned());
        members(body.as_ref(), "customer", id).map_err(errors)
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
    fn a_hundred_members_are_read_even_if_they_are_repeated() {
        assert_eq!(read(linkage(0..100)).map(|ids| ids.len()), Ok(100));
        let twice = linkage((0..100).chain(0..100));
        assert_eq!(read(&twice).map(|ids| ids.len()), Ok(100));
        let errors = vec![("/data".to_owned(), TooManyMembers)];
        assert_eq!(read(linkage(0..101)), Err(errors));
    }

    #[test]
    fn each_error_of_a_document_has_its_pointer() {
        for (body, errors) in [
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
            let errors = errors.iter().map(|(p, k)| ((*p).to_owned(), *k)).collect();
            assert_eq!(read(body), Err(errors), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_utf_8_is_refused() {
        let expected = Err(vec![(String::new(), InvalidEncoding)]);
        assert_eq!(read(b"{\"data\":\"\xff\"}"), expected);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let body = format!("\u{feff}{}", linkage(0..1));
        assert_eq!(read(body).map(|ids| ids.len()), Ok(1));
        assert_eq!(read("\u{feff}"), Err(vec![(String::new(), BodyRequired)]));
    }

    #[test]
    fn a_body_has_64_kib_at_most() {
        let body = linkage(0..1);
        let padded = |length| body.clone() + &" ".repeat(length - body.len());
        assert!(read(padded(MAX_BODY_BYTES)).is_ok());
        let expected = Err(vec![(String::new(), BodyTooLarge)]);
        assert_eq!(read(padded(MAX_BODY_BYTES + 1)), expected);
    }
}
