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
        let refuse =
            |code, name: &str| errors.push(RequestError::at(code, format!("/data/{index}{name}")));
        if let Some(member) = read_member(member, member_type, &read_id, refuse)
            && seen.insert(member.clone())
        {
            members.push(member);
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

/// Calls `refuse` with the code of each error and its pointer relative to the member.
fn read_member<M>(
    member: &RawValue,
    member_type: &str,
    read_id: impl Fn(&str) -> Option<M>,
    mut refuse: impl FnMut(ErrorCode, &str),
) -> Option<M> {
    let Some(member) = parsed::<Object<'_>>(Some(member)) else {
        refuse(ErrorCode::InvalidMember, "");
        return None;
    };
    let (found, id) = (member.get("type"), member.get("id"));
    let has_type = text(found).is_some_and(|found| found == member_type);
    match found {
        None => refuse(ErrorCode::TypeRequired, ""),
        Some(_) if !has_type => refuse(ErrorCode::InvalidType, "/type"),
        Some(_) => {}
    }
    let member = text(id).and_then(|id| read_id(&id));
    match id {
        None => refuse(ErrorCode::IdRequired, ""),
        Some(_) if member.is_none() => refuse(ErrorCode::InvalidId, "/id"),
        Some(_) => {}
    }
    member.filter(|_| has_type)
}
