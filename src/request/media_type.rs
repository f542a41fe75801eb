//! What a body is written in, and what the answer shall be written in.
//!
//! Sources: RFC 9110 sections 8.3 and 12.5.1; JSON:API 1.1, "Content
//! Negotiation".

use mediatype::names::{APPLICATION, CHARSET, JSON};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _};

use super::event::Header;

/// The media type of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerType {
    /// `application/json`, what everybody gets who does not ask for the other.
    Json,
    /// `application/vnd.api+json`
    JsonApi,
}

/// What the `Accept` header says.
pub(super) struct Accepted {
    /// The type of the answer, also of the one that says "not acceptable".
    pub(super) answer_type: AnswerType,
    /// No instance of the JSON:API media type can be served.
    pub(super) not_acceptable: bool,
}

/// Chooses the answer's type.
///
/// The JSON:API media type counts where it is named without parameters other
/// than `profile`, which may be ignored, and the weight. Where it is named only
/// with others, JSON:API 1.1 wants a 406. No other range can fail.
pub(super) fn accepted(header: &Header<'_>) -> Accepted {
    let named: Vec<bool> = match header {
        Header::Absent => Vec::new(),
        Header::One(list) => json_api_instances(list).collect(),
        Header::Several(lists) => lists
            .iter()
            .flat_map(|list| json_api_instances(list))
            .collect(),
    };
    Accepted {
        answer_type: if named.is_empty() {
            AnswerType::Json
        } else {
            AnswerType::JsonApi
        },
        not_acceptable: !named.is_empty() && !named.contains(&true),
    }
}

/// Whether a body of this `Content-Type` can be read: one of the two media
/// types, with no parameter but `charset=utf-8`. None at all is taken as JSON.
pub(super) fn is_readable(header: &Header<'_>) -> bool {
    let value = match header {
        Header::Absent => return true,
        Header::One(value) => value,
        Header::Several(_) => return false,
    };
    let Ok(media_type) = MediaType::parse(value.trim()) else {
        return false;
    };
    let json =
        media_type.ty == APPLICATION && media_type.subty == JSON && media_type.suffix.is_none();
    (json || is_json_api(&media_type))
        && media_type.params().all(|(name, value)| {
            name == CHARSET && value.unquoted_str().eq_ignore_ascii_case("utf-8")
        })
}

/// For each instance of the JSON:API media type in a list whether it can be
/// served. One that is refused by its weight (`q=0`) is not an instance.
fn json_api_instances(list: &str) -> impl Iterator<Item = bool> {
    MediaTypeList::new(list)
        .flatten()
        .filter(is_json_api)
        .filter(|media_type| !is_refused(media_type))
        .map(|media_type| {
            media_type
                .params()
                .all(|(name, _)| name == "profile" || name == "q")
        })
}

fn is_json_api(media_type: &MediaType<'_>) -> bool {
    media_type.ty == APPLICATION
        && media_type.subty == Name::new_unchecked("vnd.api")
        && media_type.suffix == Some(JSON)
}

fn is_refused(media_type: &MediaType<'_>) -> bool {
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
        let accepted = accepted(&Header::One(value.into()));
        (!accepted.not_acceptable).then_some(accepted.answer_type)
    }

    #[test]
    fn json_api_is_served_where_it_is_named() {
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
    fn json_api_with_parameters_that_are_not_ours_alone_is_not_acceptable() {
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
        let several = Header::Several(vec![
            "application/vnd.api+json; a=b".into(),
            "application/vnd.api+json".into(),
        ]);
        assert!(!accepted(&several).not_acceptable);
    }

    #[test]
    fn two_content_types_can_be_read() {
        assert!(is_readable(&Header::Absent));
        for value in [
            "application/json",
            "application/vnd.api+json",
            "APPLICATION/JSON",
            " application/json ",
            "application/json;charset=utf-8",
            "application/json ; Charset=\"UTF-8\"",
            "application/vnd.api+json; charset=utf-8",
        ] {
            assert!(is_readable(&Header::One(value.into())), "{value}");
        }
    }

    #[test]
    fn no_other_can() {
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
            "application/json, application/json",
            "application/json; charset",
        ] {
            assert!(!is_readable(&Header::One(value.into())), "{value}");
        }
        let twice = vec!["application/json".into(), "application/json".into()];
        assert!(!is_readable(&Header::Several(twice)));
    }
}
