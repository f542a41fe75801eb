//! JSON:API error documents.
//!
//! The only place where errors become HTTP, in matches without `_`: a new error
//! does not compile until somebody decides what it means to a caller.

use std::borrow::Cow;

use serde::Serialize;

use super::{Header, Response, content_type, json};
use crate::auth::{AuthError, Forbidden, TokenKind};
use crate::error::{Error, ErrorCode};
use crate::ids::InvalidId;
use crate::request::{
    BodyFault, BodyFaultKind, MAX_BODY_BYTES, MAX_LIMIT, MAX_MEMBERS, QueryFault, RequestError,
    ResponseOptions,
};
use crate::store::StoreError;

/// The most errors in one response. A body of 64 KiB can have so many faults that
/// naming them all would exceed Lambda's limit of 6 MB.
pub const MAX_ERRORS: usize = 100;

/// The `Retry-After` of a store that fails or takes too long, in seconds: the
/// smallest value of the header, and longer than most throttling lasts.
pub(super) const RETRY_AFTER: &str = "1";

/// Makes error responses.
#[derive(Debug, Clone, Default)]
pub struct ErrorDocuments {
    docs_url: Option<String>,
}

/// One fault of a request.
struct Problem {
    code: ErrorCode,
    detail: Cow<'static, str>,
    source: Option<Source>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Pointer(String),
    Parameter(String),
    Header(&'static str),
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    errors: Vec<ErrorObject<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
    status: String,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
struct Links {
    about: String,
}

impl ErrorDocuments {
    /// `docs_url` is the base of `links.about`; the code is the fragment.
    pub fn new(docs_url: Option<String>) -> Self {
        Self { docs_url }
    }

    /// Makes the response to a request that failed.
    pub fn failure(&self, error: &Error, options: ResponseOptions, request_id: &str) -> Response {
        let mut problems = problems(error);
        problems.truncate(MAX_ERRORS);
        // All faults of one request have the same status.
        let code = problems
            .first()
            .map_or(ErrorCode::InternalError, |problem| problem.code);
        let mut headers = vec![("vary", "Accept".into()), content_type(options.answer_type)];
        headers.extend(header(error));
        let errors = problems
            .into_iter()
            .map(|problem| self.error_object(problem, request_id))
            .collect();
        Response {
            payload_format: options.payload_format,
            status: code.status(),
            headers,
            body: Some(json(&ErrorDocument { errors })),
            outcome: code.as_str(),
        }
    }

    fn error_object<'a>(
        &self,
        Problem {
            code,
            detail,
            source,
        }: Problem,
        id: &'a str,
    ) -> ErrorObject<'a> {
        let links = self.docs_url.as_ref().map(|base| Links {
            about: format!("{base}#{}", code.as_str()),
        });
        ErrorObject {
            id,
            links,
            status: code.status().to_string(),
            code: code.as_str(),
            title: code.title(),
            detail,
            source,
        }
    }
}

/// Returns the header that an error's status requires.
fn header(error: &Error) -> Option<Header> {
    match error {
        Error::Request(RequestError::MethodNotAllowed { allow }) => {
            Some(("allow", allow.clone().into()))
        }
        Error::Auth(AuthError::NoAccessToken) => Some(("www-authenticate", "Bearer".into())),
        Error::Auth(AuthError::InvalidToken { .. }) => {
            Some(("www-authenticate", "Bearer error=\"invalid_token\"".into()))
        }
        Error::Auth(AuthError::NoKeys { retry_after, .. }) => {
            let seconds = retry_after.as_secs_f64().ceil().max(1.0);
            Some(("retry-after", seconds.to_string().into()))
        }
        Error::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => {
            Some(("retry-after", RETRY_AFTER.into()))
        }
        Error::Request(
            RequestError::UnreadableEvent
            | RequestError::NoSuchRoute
            | RequestError::InvalidPathParameter(_)
            | RequestError::NotAcceptable
            | RequestError::UnsupportedMediaType
            | RequestError::BodyTooLarge
            | RequestError::Query(_)
            | RequestError::Body(_),
        )
        | Error::Forbidden(_)
        | Error::Store(StoreError::Fault(_))
        | Error::Panic(_) => None,
    }
}

fn problems(error: &Error) -> Vec<Problem> {
    let problem = match error {
        Error::Request(RequestError::Body(faults)) => {
            let problem = |fault: &BodyFault| {
                body_problem(fault.kind).at(Source::Pointer(fault.pointer.clone()))
            };
            return faults.iter().map(problem).collect();
        }
        Error::Request(RequestError::Query(faults)) => {
            let problem = |fault: &QueryFault| {
                query_problem(fault).at(Source::Parameter(fault.parameter().to_owned()))
            };
            return faults.iter().map(problem).collect();
        }
        Error::Request(RequestError::UnreadableEvent) => problem(
            ErrorCode::UnreadableEvent,
            "The event is not one of API Gateway or of a function URL.",
        ),
        Error::Request(RequestError::NoSuchRoute) => {
            problem(ErrorCode::RouteNotFound, "No resource has this path.")
        }
        Error::Request(RequestError::MethodNotAllowed { .. }) => problem(
            ErrorCode::MethodNotAllowed,
            "The resource does not have this method. The Allow header lists those that it has.",
        ),
        Error::Request(RequestError::InvalidPathParameter(name)) => problem(
            ErrorCode::InvalidId,
            format!("The path parameter {name} {InvalidId}."),
        )
        .at(Source::Parameter((*name).to_owned())),
        Error::Request(RequestError::NotAcceptable) => problem(
            ErrorCode::NotAcceptable,
            "JSON:API is served without extensions and without media type parameters other than \
             profile.",
        )
        .at(Source::Header("Accept")),
        Error::Request(RequestError::UnsupportedMediaType) => problem(
            ErrorCode::UnsupportedMediaType,
            "The body must be application/json, with no parameter but charset=utf-8, or \
             application/vnd.api+json, with no parameter but profile.",
        )
        .at(Source::Header("Content-Type")),
        Error::Request(RequestError::BodyTooLarge) => problem(
            ErrorCode::BodyTooLarge,
            format!("The body must not be larger than {MAX_BODY_BYTES} bytes."),
        ),
        Error::Auth(error) => auth_problem(*error),
        Error::Forbidden(forbidden) => forbidden_problem(*forbidden),
        Error::Store(StoreError::Unavailable(_)) => problem(
            ErrorCode::StoreUnavailable,
            "Nothing was changed. Sending the request again is safe.",
        ),
        Error::Store(StoreError::OutcomeUnknown(_)) => problem(
            ErrorCode::OutcomeUnknown,
            "The request may or may not have taken effect. Sending it again is safe.",
        ),
        Error::Store(StoreError::Fault(_)) | Error::Panic(_) => problem(
            ErrorCode::InternalError,
            "The service failed. The cause is logged under this id.",
        ),
    };
    vec![problem]
}

fn query_problem(fault: &QueryFault) -> Problem {
    match fault {
        QueryFault::Limit => problem(
            ErrorCode::InvalidPageLimit,
            format!("`page[limit]` must be one whole number from 1 to {MAX_LIMIT}."),
        ),
        QueryFault::Cursor => problem(
            ErrorCode::InvalidPageCursor,
            "`page[after]` must be the cursor in a `links.next` of this list, at most one day old.",
        ),
        QueryFault::UnknownPage(_) => problem(
            ErrorCode::UnknownPageParameter,
            "The only parameters for paging are `page[limit]` and `page[after]`.",
        ),
        QueryFault::Unsupported(_) => problem(
            ErrorCode::UnsupportedParameter,
            "This request does not support the parameter. JSON:API reserves names made only of the \
             letters a to z.",
        ),
    }
}

fn body_problem(kind: BodyFaultKind) -> Problem {
    match kind {
        BodyFaultKind::BodyMissing => problem(
            ErrorCode::BodyRequired,
            "The request needs a body: a JSON:API document with the member `data`.",
        ),
        BodyFaultKind::NotBase64 => problem(
            ErrorCode::InvalidEncoding,
            "The event says that the body is base64, but it is not.",
        ),
        BodyFaultKind::NotUtf8 => problem(ErrorCode::InvalidEncoding, "The body is not UTF-8."),
        BodyFaultKind::NotJson => problem(ErrorCode::InvalidJson, "The body is not JSON."),
        BodyFaultKind::DocumentNotObject => problem(
            ErrorCode::InvalidDocument,
            "The body must be a JSON object.",
        ),
        BodyFaultKind::DataMissing => problem(
            ErrorCode::DataRequired,
            "The document must have the member `data`.",
        ),
        BodyFaultKind::DataNotArray => problem(
            ErrorCode::InvalidData,
            "`data` must be an array of resource identifiers.",
        ),
        BodyFaultKind::DataEmpty => problem(
            ErrorCode::DataEmpty,
            "`data` must name at least one customer.",
        ),
        BodyFaultKind::DataNotEmpty => problem(
            ErrorCode::FullReplacementUnsupported,
            "`data` must be an empty array. A relationship can be cleared, but not replaced.",
        ),
        BodyFaultKind::TooManyMembers => problem(
            ErrorCode::TooManyMembers,
            format!("`data` must not name more than {MAX_MEMBERS} customers."),
        ),
        BodyFaultKind::MemberNotObject => problem(
            ErrorCode::InvalidMember,
            "A member of `data` must be an object with `type` and `id`.",
        ),
        BodyFaultKind::TypeMissing => problem(
            ErrorCode::TypeRequired,
            "A member of `data` must have a `type`.",
        ),
        BodyFaultKind::TypeNotCustomer => problem(
            ErrorCode::InvalidType,
            "The `type` of a member must be `customer`.",
        ),
        BodyFaultKind::IdMissing => problem(
            ErrorCode::IdRequired,
            "A member of `data` must have an `id`.",
        ),
        BodyFaultKind::IdInvalid => problem(
            ErrorCode::InvalidId,
            format!("The `id` of a member {InvalidId}."),
        ),
    }
}

fn auth_problem(error: AuthError) -> Problem {
    match error {
        AuthError::NoAccessToken => problem(
            ErrorCode::AccessTokenRequired,
            "The request needs the header `Authorization: Bearer` with an access token.",
        )
        .at(Source::Header("Authorization")),
        AuthError::InvalidToken {
            kind: TokenKind::Access,
            ..
        } => problem(
            ErrorCode::InvalidAccessToken,
            "The access token is malformed, expired or not for this API.",
        )
        .at(Source::Header("Authorization")),
        AuthError::InvalidToken {
            kind: TokenKind::Customer,
            ..
        } => problem(
            ErrorCode::InvalidCustomerToken,
            "The customer token is malformed, expired or not for this API.",
        )
        .at(Source::Header("x-moltin-customer-token")),
        AuthError::NoKeys { .. } => problem(
            ErrorCode::KeysUnavailable,
            "Tokens cannot be verified at the moment. Nothing was changed. Sending the request again \
             is safe.",
        ),
    }
}

fn forbidden_problem(forbidden: Forbidden) -> Problem {
    const OTHER_CUSTOMER: &str = "The customer token permits acting for its own customer only.";
    match forbidden {
        Forbidden::CustomerTokenRequired => problem(
            ErrorCode::CustomerTokenRequired,
            "An access token of this grant needs a customer token beside it.",
        )
        .at(Source::Header("x-moltin-customer-token")),
        Forbidden::OtherCustomer => problem(ErrorCode::OtherCustomer, OTHER_CUSTOMER)
            .at(Source::Pointer("/data".to_owned())),
        Forbidden::OtherCustomersCarts => problem(ErrorCode::OtherCustomer, OTHER_CUSTOMER)
            .at(Source::Parameter("customerId".to_owned())),
        Forbidden::NotOnCart => problem(
            ErrorCode::NotOnCart,
            "A customer may list the customers of their own carts only.",
        )
        .at(Source::Parameter("cartId".to_owned())),
        Forbidden::BackEndRequired => problem(
            ErrorCode::BackEndRequired,
            "Clearing a cart needs an access token of the client_credentials grant, and no customer \
             token.",
        )
        .at(Source::Header("Authorization")),
    }
}

fn problem(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem {
        code,
        detail: detail.into(),
        source: None,
    }
}

impl Problem {
    fn at(self, source: Source) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }
}
