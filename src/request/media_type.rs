//! Content negotiation: `Accept` and `Content-Type`.
//!
//! Sources: RFC 9110 sections 8.3 and 12.5.1; JSON:API 1.1, "Content
//! Negotiation".

use std::borrow::Cow;

use mediatype::names::{APPLICATION, CHARSET, JSON};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _};

const PROFILE: &str = "profile";

/// The media type of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerType {
    /// `application/json`, the default.
    Json,
    /// `application/vnd.api+json`
    JsonApi,
}

/// The result of content negotiation.
pub(super) struct Accepted {
    /// The media type of the response, also if it is 406.
    pub(super) answer_type: AnswerType,
    /// `Accept` names JSON:API, but only with unsupported parameters.
    pub(super) not_acceptable: bool,
}

/// Negotiates the media type of the response from the values of `Accept`.
///
/// An instance of JSON:API counts if it has no parameters but `profile`, which may
/// be ignored, and the weight. If all instances have others, JSON:API 1.1 requires
/// a 406. Every other range is accepted.
pub(super) fn accepted(values: &[Cow<'_, str>]) -> Accepted {
    let served: Vec<bool> = values
        .iter()
        .flat_map(|list| json_api_instances(list))
        .collect();
    Accepted {
        answer_type: if served.is_empty() {
            AnswerType::Json
        } else {
            AnswerType::JsonApi
        },
        not_acceptable: !served.is_empty() && !served.contains(&true),
    }
}

/// Returns whether a body with these values of `Content-Type` is read: JSON with no
/// parameter but `charset=utf-8`, or JSON:API with no parameter but `profile`. No
/// content type counts as JSON.
pub(super) fn is_supported(values: &[Cow<'_, str>]) -> bool {
    let value = match values {
        [] => return true,
        [value] => value,
        _ => return false,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> Option<AnswerType> {
        let accepted = accepted(&[value.into()]);
        (!accepted.not_acceptable).then_some(accepted.answer_type)
    }

    #[test]
    fn json_api_is_served_if_it_is_named() {
        for (value, answer_type) in [
            ("", AnswerType::Json),
            ("*/*", AnswerType::Json),
            ("text/html", AnswerType::Json),
            ("application/json", AnswerType::Json),
            ("application/vnd.api", AnswerType::Json),
            ("not a media type;;;", AnswerType::Json),
            ("application/vnd.api+json;q=0", AnswerType::Json),
            (
                "application/vnd.api+json;ext=\"x\";q=0, */*",
                AnswerType::Json,
            ),
            ("application/vnd.api+json", AnswerType::JsonApi),
            ("Application/VND.API+JSON", AnswerType::JsonApi),
            (
                "text/html, application/vnd.api+json;q=0.1",
                AnswerType::JsonApi,
            ),
            (
                "application/vnd.api+json; profile=\"https://a/ b\"",
                AnswerType::JsonApi,
            ),
            (
                "application/vnd.api+json;ext=\"https://a\", application/vnd.api+json",
                AnswerType::JsonApi,
            ),
        ] {
            assert_eq!(accept(value), Some(answer_type), "{value}");
        }
    }

    #[test]
    fn json_api_with_unsupported_parameters_only_is_not_acceptable() {
        for value in [
            "application/vnd.api+json; ext=\"https://jsonapi.org/ext/atomic\"",
            "application/vnd.api+json; charset=utf-8",
            "application/vnd.api+json; a=b, application/json",
            "application/vnd.api+json; a=\",\", application/vnd.api+json; c=d",
        ] {
            assert_eq!(accept(value), None, "{value}");
        }
    }

    #[test]
    fn several_accept_headers_are_one_list() {
        let several = [
            "application/vnd.api+json; a=b".into(),
            "application/vnd.api+json".into(),
        ];
        assert!(!accepted(&several).not_acceptable);
    }

    #[test]
    fn json_and_json_api_are_supported() {
        assert!(is_supported(&[]));
        for value in [
            "application/json",
            "application/vnd.api+json",
            "APPLICATION/JSON",
            " application/json ",
            "application/json;charset=utf-8",
            "application/json ; Charset=\"UTF-8\"",
            "application/vnd.api+json; profile=\"https://a/ b\"",
            "application/vnd.api+json;Profile=x",
        ] {
            assert!(is_supported(&[value.into()]), "{value}");
        }
    }

    #[test]
    fn no_other_content_type_is_supported() {
        for value in [
            "",
            "json",
            "text/json",
            "text/plain",
            "application/jsonp",
            "application/problem+json",
            "application/json+json",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/json; charset=utf-8; a=b",
            "application/json; profile=\"https://a\"",
            "application/vnd.api+json; ext=\"https://a\"",
            "application/vnd.api+json; charset=utf-8",
            "application/vnd.api+json; profile=x; a=b",
            "application/json, application/json",
            "application/json; charset",
        ] {
            assert!(!is_supported(&[value.into()]), "{value}");
        }
        let twice = ["application/json".into(), "application/json".into()];
        assert!(!is_supported(&twice));
    }
}
