//! Content negotiation: `Accept` and `Content-Type`.
//!
//! Sources: RFC 9110 sections 8.3 and 12.5.1; JSON:API 1.1, "Content
//! Negotiation".

use lambda_http::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use mediatype::names::{APPLICATION, CHARSET, JSON};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _};

use crate::error::{ErrorCode, RequestError};

const PROFILE: &str = "profile";

/// The result of content negotiation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The media type of the response, also if it is 406.
    pub(crate) answer_type: HeaderValue,
    /// `Accept` names JSON:API, but only with unsupported parameters.
    not_acceptable: bool,
}

impl Accepted {
    /// Fails if no media type that `Accept` names can be served.
    pub(crate) fn check(&self) -> Result<(), RequestError> {
        if self.not_acceptable {
            return Err(RequestError::of_header(ErrorCode::NotAcceptable, "Accept"));
        }
        Ok(())
    }
}

/// Negotiates the media type of the response: `application/json` unless `Accept`
/// names JSON:API.
///
/// An instance of JSON:API counts if it has no parameters but `profile`, which may
/// be ignored, and the weight. If all instances have others, JSON:API 1.1 requires
/// a 406. Every other range is accepted.
pub(crate) fn accepted(headers: &HeaderMap) -> Accepted {
    let served: Vec<bool> = values(headers, ACCEPT)
        .flat_map(json_api_instances)
        .collect();
    Accepted {
        answer_type: HeaderValue::from_static(if served.is_empty() {
            "application/json"
        } else {
            "application/vnd.api+json"
        }),
        not_acceptable: !served.is_empty() && !served.contains(&true),
    }
}

/// Checks that a body is JSON with no parameter but `charset=utf-8`, or JSON:API
/// with no parameter but `profile`, and that it is not compressed. No content type
/// counts as JSON.
pub(crate) fn check_content(headers: &HeaderMap) -> Result<(), RequestError> {
    let unsupported = |name| RequestError::of_header(ErrorCode::UnsupportedMediaType, name);
    if !is_supported(values(headers, CONTENT_TYPE)) {
        return Err(unsupported("Content-Type"));
    }
    let mut codings = values(headers, CONTENT_ENCODING).flat_map(|list| list.split(','));
    if codings.any(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
        return Err(unsupported("Content-Encoding"));
    }
    Ok(())
}

fn is_supported<'h>(mut values: impl Iterator<Item = &'h str>) -> bool {
    let value = match (values.next(), values.next()) {
        (None, _) => return true,
        (Some(value), None) => value,
        (Some(_), Some(_)) => return false,
    };
    let Ok(media_type) = MediaType::parse(value.trim()) else {
        return false;
    };
    if is_json_api(&media_type) {
        return media_type.params().all(|(name, _)| name == PROFILE);
    }
    media_type.ty == APPLICATION
        && media_type.subty == JSON
        && media_type.suffix.is_none()
        && media_type.params().all(|(name, value)| {
            name == CHARSET && value.unquoted_str().eq_ignore_ascii_case("utf-8")
        })
}

/// Returns the values of a header. One that is not UTF-8 counts as empty.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| str::from_utf8(value.as_bytes()).unwrap_or_default())
}

/// For each instance of JSON:API in a list, returns whether it can be served. An
/// instance that the caller excludes (`q=0`) does not count.
fn json_api_instances(list: &str) -> impl Iterator<Item = bool> {
    MediaTypeList::new(list)
        .flatten()
        .filter(is_json_api)
        .filter(|media_type| !is_excluded(media_type))
        .map(|media_type| {
            media_type
                .params()
                .all(|(name, _)| name == PROFILE || name == "q")
        })
}

fn is_json_api(media_type: &MediaType<'_>) -> bool {
    media_type.ty == APPLICATION
        && media_type.subty == Name::new_unchecked("vnd.api")
        && media_type.suffix == Some(JSON)
}

fn is_excluded(media_type: &MediaType<'_>) -> bool {
    let weight = media_type.params().find(|(name, _)| *name == "q");
    weight.is_some_and(|(_, value)| {
        value
            .unquoted_str()
            .parse::<f32>()
            .is_ok_and(|weight| weight <= 0.0)
    })
}
